"""An engine in the hands of a program: threads, files that change, prompts of every length."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ledlocal import Engine
from ledlocal.models import DEMO
from ledlocal.runtime.llama import Context, Row
from ledlocal.values.errors import EngineDied
from ledlocal.values.events import Finished
from ledlocal.values.params import EngineOptions, Request, Sampling


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
