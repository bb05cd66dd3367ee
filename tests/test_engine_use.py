"""An engine in the hands of a program: threads, files that change, prompts of every length."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from ledlocal import Engine
from ledlocal.models import DEMO
from ledlocal.runtime.llama import Context, Row
from ledlocal.values.errors import EngineDied
from ledlocal.values.events import Event, Finished, Token
from ledlocal.values.params import EngineOptions, Message, Request, Sampling


def test_many_threads_use_one_engine(tmp_path: Path) -> None:
    """Every request gets what it gets alone."""
    def request(seed: int) -> Request:
        return Request(prompt="1 2 3", seed=seed, max_tokens=12, ignore_eos=True, problem=str(seed))

    def ids(engine: Engine, seed: int) -> tuple[int, ...]:
        [end] = [event for event in engine.generate(request(seed)) if isinstance(event, Finished)]
        return end.ids

    options = EngineOptions(str(DEMO), context=256, slots=4, threads=1, reproducible=True)
    with Engine(options) as engine:
        alone = [ids(engine, seed) for seed in range(24)]
        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(lambda seed: ids(engine, seed), range(24))) == alone


def test_a_file_that_changes_under_the_engine_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(DEMO.read_bytes())
    with Engine(EngineOptions(str(path), context=256, threads=1)) as engine:
        list(engine.generate(Request(prompt="1", max_tokens=2)))
        os.utime(path, (1, 1))
        with pytest.raises(EngineDied, match=f"{path} was changed while it was in use"):
            engine.submit(Request(prompt="1", max_tokens=2))


def test_prompts_never_end_in_a_chunk_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another kernel would compute it than the rest of the prompt."""
    sizes: list[list[int]] = []
    honest = Context.decode

    def decode(context: Context, rows: Sequence[Row]) -> bool:
        sizes[-1].append(len(rows))
        return honest(context, rows)

    way = Sampling("standard")
    with Engine(EngineOptions(str(DEMO), context=512, batch=16, threads=1, tap="none")) as engine:
        monkeypatch.setattr(Context, "decode", decode)
        for length in (2, 3, 16, 17, 18, 19, 33, 34, 35, 49, 50):
            sizes.append([])
            ids = tuple(40 + (length + i) % 100 for i in range(length))
            list(engine.generate(Request(prompt_ids=ids, thinking=way, answer=way, max_tokens=1, ignore_eos=True)))
            *chunks, last = sizes[-1]
            assert last == 1 and sum(chunks) == length - 1
            assert 1 not in chunks or length == 2, (length, chunks)


@pytest.mark.parametrize("stop", [(), ("yes",)])
@pytest.mark.parametrize("steps", [9, 60, 10**6])
def test_what_was_said_does_not_depend_on_who_listens(stop: tuple[str, ...], steps: int) -> None:
    """Text, ids and counts, of samples that end by themselves, at a limit, at a stop string, and when cancelled."""
    question = Message("user", "Use 2, 3, 8 and 10 to make 13.")
    with Engine(EngineOptions(str(DEMO), context=512, slots=4, threads=1, reproducible=True)) as engine:
        found = []
        for detail in ("none", "forks", "candidates"):
            number = engine.submit(Request(messages=(question,), n=4, seed=3, max_tokens=150, stop=stop, detail=detail))
            events: list[Event] = []
            for _ in range(steps):
                if not engine.busy:
                    break
                events += engine.step()
            engine.cancel(number)
            while engine.busy:
                events += engine.step()
            ends = sorted((event for event in events if isinstance(event, Finished)), key=lambda end: end.sample)
            found.append([replace(end, request=0, prefill_s=0, decode_s=0) for end in ends])
            tokens = [event for event in events if isinstance(event, Token)]
            assert bool(tokens) == (detail != "none")
            for end in ends if tokens else ():
                text = "".join(token.text for token in tokens if token.sample == end.sample)
                assert end.thinking in text and end.answer in text
    assert len(found[0]) == 4 and found[0] == found[1] == found[2]
    assert any(end.thinking for end in found[0])
