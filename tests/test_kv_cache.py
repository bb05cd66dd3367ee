"""What a later turn may take over from the KV cache, and that it changes no token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tap_witness import cpu_only
from test_engine import GREEDY, Run, both, drain, one, opened, sampled
from tiny_models import TinyModels

from ledlocal import Engine
from ledlocal.engine.engine import REWIND_NOTICE
from ledlocal.engine.kv_cache import KvCache
from ledlocal.runtime import llama
from ledlocal.runtime.llama import Context, Model, Row, context_params
from ledlocal.values.errors import BadInput
from ledlocal.values.params import Led, Request, Sampling

PLAIN = ("qwen3", "llama", "gemma2", "phi2")
UNREWINDABLE = ("lfm2", "granitehybrid", "mamba")
RNG = np.random.default_rng(1)
FIRST = tuple(int(i) for i in RNG.integers(0, 256, 70))
MORE = tuple(int(i) for i in RNG.integers(0, 256, 21))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    return TinyModels(tmp_path_factory.mktemp("tiny"))


def turn(ids: tuple[int, ...], **options: Any) -> Request:
    return Request(prompt_ids=ids, ignore_eos=True, **{"max_tokens": 16} | both(GREEDY) | options)


def reused(run: Run) -> int:
    assert run.started is not None
    return run.started.reused


def fresh(path: Path, request: Request, **options: Any) -> tuple[int, ...]:
    """What an engine says that has seen nothing else."""
    with opened(path, **options) as engine:
        run = one(engine, request)
        assert reused(run) == 0
        assert run.notices == []
        return run.ids


@cpu_only
@pytest.mark.parametrize("architecture", [*PLAIN, *UNREWINDABLE, "gemma3"])
def test_a_turn_that_goes_on_reuses_all_there_is(models: TinyModels, architecture: str) -> None:
    path = models(architecture)
    with opened(path, tap="none") as engine:
        first = one(engine, turn(FIRST))
        asked = FIRST + first.ids + MORE
        second = one(engine, turn(asked))
        assert reused(second) == len(FIRST) + len(first.ids) - 1  # the last token was never decoded
        third = one(engine, turn(asked + second.ids + MORE))
        assert reused(third) == len(asked) + len(second.ids) - 1
        assert not first.notices + second.notices + third.notices
    assert second.ids == fresh(path, turn(asked), tap="none")
    assert third.ids == fresh(path, turn(asked + second.ids + MORE), tap="none")


@pytest.mark.parametrize("architecture", PLAIN)
@pytest.mark.parametrize("keep", [1, 40, len(FIRST) - 1])
def test_a_changed_past_keeps_what_came_before(models: TinyModels, architecture: str, keep: int) -> None:
    path = models(architecture)
    changed = (*FIRST[:keep], (FIRST[keep] + 1) % 256, *MORE)
    with opened(path, tap="none") as engine:
        one(engine, turn(FIRST))
        second = one(engine, turn(changed))
        assert reused(second) == keep
        assert second.notices == []
    assert second.ids == fresh(path, turn(changed), tap="none")


def test_the_same_prompt_again_decodes_its_last_token_only(models: TinyModels) -> None:
    with opened(models("qwen3")) as engine:
        first, second = one(engine, turn(FIRST)), one(engine, turn(FIRST))
    assert reused(second) == len(FIRST) - 1
    assert second.ids == first.ids


@pytest.mark.parametrize("architecture", UNREWINDABLE)
def test_memory_that_cannot_be_cut_is_read_anew_and_says_so_once(models: TinyModels, architecture: str) -> None:
    path = models(architecture)
    changed = (*FIRST[:40], (FIRST[40] + 1) % 256, *MORE)
    with opened(path, tap="none") as engine:
        one(engine, turn(FIRST))
        second = one(engine, turn(changed))
        assert reused(second) == 0
        assert second.notices == [REWIND_NOTICE]
        asked = changed + second.ids + MORE
        third = one(engine, turn(asked))
        assert reused(third) == len(changed) + len(second.ids) - 1
        fourth = one(engine, turn(changed[:30] + MORE))
        assert reused(fourth) == 0
        assert not third.notices + fourth.notices
    assert second.ids == fresh(path, turn(changed), tap="none")
    assert third.ids == fresh(path, turn(asked), tap="none")
    assert fourth.ids == fresh(path, turn(changed[:30] + MORE), tap="none")


@cpu_only
@pytest.mark.parametrize("architecture", ["qwen3", "gemma3", *UNREWINDABLE])
def test_samples_of_one_prompt_share_it(models: TinyModels, architecture: str) -> None:
    path = models(architecture)
    with opened(path, tap="none", slots=4) as engine:
        runs = sampled(engine, turn(FIRST, n=7))
    alone = fresh(path, turn(FIRST), tap="none")
    assert [run.ids for run in runs] == [alone] * 7
    assert reused(runs[0]) == 0
    if architecture not in UNREWINDABLE:
        assert [reused(run) for run in runs[1:4]] == [len(FIRST) - 1] * 3


def test_reproducible_engines_take_nothing_over(models: TinyModels) -> None:
    with opened(models("qwen3"), reproducible=True) as engine:
        first, second = one(engine, turn(FIRST)), one(engine, turn(FIRST))
    assert reused(second) == 0
    assert second.ids == first.ids


def test_the_slot_that_holds_most_is_taken(models: TinyModels) -> None:
    other = tuple(reversed(FIRST))
    with opened(models("qwen3"), slots=3) as engine:
        for ids in (FIRST, other, MORE):
            engine.submit(turn(ids))
        drain(engine)
        for ids in (other, FIRST, MORE):
            assert reused(one(engine, turn((*ids, 7, 8, 9)))) == len(ids)


# ---- sliding windows ----


@contextmanager
def windowed(path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Iterator[Engine]:
    """An engine whose cache forgets what the window has passed."""
    def params(*args: Any) -> Any:
        made = context_params(*args)
        made.swa_full = False
        return made

    with monkeypatch.context() as patch:
        patch.setattr(llama, "context_params", params)
        engine = opened(path, **options)
    with engine:
        yield engine


LONG = tuple(int(i) for i in RNG.integers(0, 256, 700))
SIZES = {"context": 1024, "batch": 64, "tap": "none"}


@pytest.mark.parametrize("keep", [100, 650])
def test_a_full_sliding_window_cache_is_cut_like_any_other(models: TinyModels, keep: int) -> None:
    path = models("gemma3")
    changed = LONG[:keep] + MORE
    with opened(path, **SIZES) as engine:
        one(engine, turn(LONG))
        run = one(engine, turn(changed))
    assert reused(run) == keep
    assert run.ids == fresh(path, turn(changed), **SIZES)


def test_a_window_that_is_gone_is_not_reused(models: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    path = models("gemma3")
    with windowed(path, monkeypatch, **SIZES) as engine:
        first = one(engine, turn(LONG))
        assert engine._session.context.first_position(0) > 100 > engine._session.model.n_swa > 0
        early = one(engine, turn(LONG[:100] + MORE))
        assert reused(early) == 0
        assert early.notices == [REWIND_NOTICE]
        again = one(engine, turn(LONG))
        assert again.ids == first.ids
        late = one(engine, turn(LONG[:-5] + MORE))
        assert reused(late) == len(LONG) - 5  # its window is still there
    assert early.ids == fresh(path, turn(LONG[:100] + MORE), **SIZES)
    assert late.ids == fresh(path, turn(LONG[:-5] + MORE), **SIZES)


def test_llama_cpp_itself_would_cut_a_window_that_is_gone(models: TinyModels) -> None:
    """Why `KvCache` looks at positions: the library's answer alone is not enough."""
    model = Model(models("gemma3"))
    params = context_params(1024, 1, 64, 1, True)
    params.swa_full = False
    context = Context(model, params)

    def read() -> None:
        for at in range(0, 640, 64):
            assert context.decode([Row(LONG[i], i, 0, False) for i in range(at, at + 64)])

    try:
        kv = KvCache(context, 64)
        for keep, stays in ((200, 0), (639, 639)):
            read()
            kv.extend(Row(token, i, 0, False) for i, token in enumerate(LONG[:640]))
            assert context.first_position(0) > 200
            assert kv.reuse(0, (*LONG[:keep], 256, *MORE)) == stays
            assert context.last_position(0) == stays - 1
            kv.clear(0)
        read()
        assert context.forget(0, 200)
    finally:
        context.close()
        model.close()


def test_types_of_the_cache(models: TinyModels) -> None:
    """Coarser types move the probabilities, and further; nothing else changes, layers are read as ever."""
    path = models("qwen3", n_embd=256)
    request = Request(prompt_ids=FIRST, max_tokens=8, ignore_eos=True,
                      **both(Sampling("led", led=Led(scope="all", exploit=False))))
    seen = {}
    for kind in ("f16", "q8_0", "q4_0"):
        with opened(path, cache_type_k=kind, cache_type_v=kind) as engine:
            run = one(engine, request)
            assert all(token.explored for token in run.tokens)
            seen[kind] = run.tokens[0].entropy
    assert 0 < abs(seen["q8_0"] - seen["f16"]) < abs(seen["q4_0"] - seen["f16"]) < 0.5, seen


def test_a_cache_that_llama_cpp_refuses_is_bad_input(models: TinyModels) -> None:
    with pytest.raises(BadInput, match="quantized V cache requires flash_attn to be enabled"):
        opened(models("qwen3", n_embd=256), cache_type_v="q8_0", flash_attention="off")
    with pytest.raises(BadInput, match="K cache type q8_0 with block size 32 does not divide n_embd_head_k=16"):
        opened(models("qwen3"), cache_type_k="q8_0")
