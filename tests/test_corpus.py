"""2,000 damaged model files, each given to the real command: nothing dies, and every refusal names file and cause."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from damaged import Corpus
from parsed_gguf import parse

CASES = 2000
QUICK = 50
"""The first so many run in `make test`."""
AT_ONCE = 25
LIMIT_S = 60.0

DONE, INVALID, REFUSED, DIED, RESOURCES = 0, 1, 2, 3, 4
"""INVALID: the logits were not finite, and the answer says so."""
_ABOUT_THE_PROMPT = re.compile(r"ledlocal: the prompt is \d+ tokens long, and the context holds \d+")
"""A file may allow so little context that no prompt fits; that is no fault of the file."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("sound"))


def chat(path: Path) -> subprocess.CompletedProcess[str]:
    """The real command, in a process of its own, with a cache of its own."""
    return subprocess.run(
        [sys.executable, "-m", "ledlocal", "chat", str(path), "hi", "-n", "4", "-t", "1", "--json"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=False, encoding="utf-8",
        env={**os.environ, "XDG_CACHE_HOME": str(path.parent)})


def fault(done: subprocess.CompletedProcess[str], path: Path) -> str:
    """What the command did wrong, '' if nothing; that the worker died is not the command's fault."""
    said = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    if done.returncode in (DONE, INVALID):
        try:
            finish = json.loads(done.stdout)["finish"]
        except (ValueError, KeyError) as error:
            return f"no JSON: {error}"
        return "" if not said and (finish == "invalid") == (done.returncode == INVALID) else f"{finish}, but {said}"
    if done.returncode not in (REFUSED, DIED, RESOURCES):
        return f"exit code {done.returncode}"
    if len(said) != 1 or not said[0].startswith("ledlocal: ") or not said[0].isprintable():
        return f"not one line: {said}"
    if done.stdout:
        return "it answered all the same"
    if done.returncode == DIED or _ABOUT_THE_PROMPT.fullmatch(said[0]):
        return ""
    _, named, cause = said[0].replace("\\", "").partition(str(path))
    return "" if named and len(cause.split()) > 1 else f"file or cause is not named: {said[0]}"


def test_the_sound_files_are_parsed_and_answer(corpus: Corpus, tmp_path: Path) -> None:
    for name, data in corpus.sound.items():
        assert parse(data).build() == data, name
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(data)
        done = chat(path)
        assert (done.returncode, fault(done, path)) == (DONE, ""), (name, done.stderr)


def test_a_number_is_always_the_same_file(corpus: Corpus, tmp_path: Path) -> None:
    again = Corpus(tmp_path)
    assert [corpus[i] for i in range(40)] == [again[i] for i in range(40)]
    assert len({corpus[i].data for i in range(100)}) == 100


@pytest.mark.parametrize("first", [
    pytest.param(first, marks=[] if first < QUICK else pytest.mark.slow) for first in range(0, CASES, AT_ONCE)])
def test_damaged(first: int, corpus: Corpus, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    tally: Counter[int] = Counter()
    faults = []
    for number in range(first, first + AT_ONCE):
        case = corpus[number]
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(case.data)
        done = chat(path)
        path.unlink()
        tally[done.returncode] += 1
        if wrong := fault(done, path):
            faults.append(f"{case.name}: {wrong}")
        if done.returncode == DIED:
            faults.append(f"{case.name}: the worker died: {done.stderr.strip()}")
    record_property("corpus", dict(tally))
    assert not faults, "\n".join(faults)
