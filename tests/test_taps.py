"""The fast taps against the reference tap, against residuals known by hand, and against what must be refused.

The reference gets its rows from llama.cpp's eval callback and multiplies with NumPy: it shares nothing with the others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy
from tap_steps import FAST, TOP, fast_tap, loaded, opened, step
from tiny_lora import apply_lora, tiny_lora
from tiny_models import F16, F32, Q4_K, Q8_0, KnownResidual, TinyModels, known_residual_model
from tiny_recipes import RECIPES, UNTAPPABLE

from ledlocal.methods.final import FinalLayer
from ledlocal.methods.led import layers_of
from ledlocal.runtime.install import OVERRIDE
from ledlocal.runtime.library import library_path
from ledlocal.runtime.llama import Model, Row
from ledlocal.runtime.taps.none import NoTap
from ledlocal.runtime.taps.plugin import PluginTap
from ledlocal.runtime.taps.protocol import Tap
from ledlocal.runtime.taps.reference import ReferenceTap
from ledlocal.values.errors import LedlocalError
from ledlocal.values.params import PRESETS

TAPPABLE = [architecture for architecture in RECIPES if architecture not in UNTAPPABLE]
PROBABILITY = {F32: 1e-5, F16: 2e-3, Q8_0: 0.03, Q4_K: 0.05}
"""Largest difference of a probability. The reference multiplies the unrounded hidden row; llama.cpp's kernels round it
to the head's companion type (OutputHead has the measured logits): none for F32, fp16, or 8-bit blocks."""
ENTROPY = {F32: 1e-4, F16: 1e-2, Q8_0: 0.1, Q4_K: 0.2}
"""Largest difference of an entropy, in nats, for the same reason: it moves by about |log p| times a probability."""
RANK = {F32: 0, F16: 2, Q8_0: 20, Q4_K: 40}
"""Places by which a token may move among 320: neighbours of nearly equal logits change places."""
LIST = 1e-5
"""The final layer is llama.cpp's own in both taps; only sums over the vocabulary differ, in float32 on the device."""
TEMPERATURES = np.array([0.6, 1.0, 1.7])


def test_the_patched_library_is_the_one_that_was_built() -> None:
    fast_tap("native")
    assert library_path().parent == Path(os.environ.get("LEDLOCAL_TEST_NATIVE") or os.environ[OVERRIDE])


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    return TinyModels(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> KnownResidual:
    return known_residual_model(tmp_path_factory.mktemp("known") / "known.gguf")


@dataclass(frozen=True)
class Seen:
    """Everything a tap says of one step; the candidates are fixed, so that taps compare entry by entry."""

    final: FinalLayer
    posteriors: dict[bool, NDArray[np.float32]]
    measured: dict[bool, tuple[NDArray[np.float64], NDArray[np.int64]]]
    rows: NDArray[np.float32]


def see(tap: Tap, model: Model, layers: Sequence[int], inv_temp: NDArray[np.float64], unified: bool) -> Seen:
    n = len(inv_temp)
    rows = np.arange(n)[::-1]
    with opened(model, tap, layers, n, unified) as context:
        step(tap, context, inv_temp)
        final = tap.topk()
        ids = np.tile(np.arange(0, model.n_vocab, 3, dtype=np.int32), (n, 1))
        posteriors = {norm: tap.project(rows, ids, layers, norm, inv_temp[rows]) for norm in (False, True)}
        measured = {norm: tap.measure(rows, layers, norm) for norm in (False, True)}
        assert tap.rows_fetched == 0, "a full row crossed without being asked for"
        fetched = np.stack([tap.row(i) for i in range(n)])
        assert tap.rows_fetched == n
    return Seen(final, posteriors, measured, fetched)


def compare(path: Path, fast: str, head_type: int, inv_temp: NDArray[np.float64], unified: bool = False) -> None:
    tap = fast_tap(fast)
    with loaded(path) as model:
        layers = range(1, model.n_layer + 1)
        want = see(ReferenceTap(path), model, layers, inv_temp, unified)
        got = see(tap, model, layers, inv_temp, unified)
    np.testing.assert_array_equal(got.final.ids, want.final.ids)
    np.testing.assert_allclose(got.final.logits, want.final.logits, atol=LIST)
    for name in ("logsumexp", "entropy"):
        np.testing.assert_allclose(getattr(got.final, name), getattr(want.final, name), atol=LIST, rtol=LIST)
    np.testing.assert_allclose(got.final.probs(), want.final.probs(), atol=LIST)
    np.testing.assert_allclose(got.rows, want.rows, atol=LIST)
    for norm in (False, True):
        np.testing.assert_allclose(got.posteriors[norm], want.posteriors[norm], atol=PROBABILITY[head_type])
        np.testing.assert_allclose(got.measured[norm][0], want.measured[norm][0], atol=ENTROPY[head_type])
        assert np.abs(got.measured[norm][1] - want.measured[norm][1]).max() <= RANK[head_type]


CASES: list[tuple[str, dict[str, Any]]] = [(architecture, {}) for architecture in TAPPABLE] + [
    ("llama", {"tied": True}), ("qwen3", {"tied": True, "head_type": F32}), ("llama", {"head_type": F32}),
    ("qwen3", {"head_type": Q8_0}), ("llama", {"head_type": Q8_0, "tied": True}),
    ("qwen3", {"head_type": Q4_K, "n_embd": 256}), ("gemma3", {"head_type": Q4_K, "n_embd": 256, "tied": True}),
    ("gemma2", {"head_type": F32, "soft_cap": 10.0}), ("gemma3", {"head_type": F32, "soft_cap": 30.0}),
    ("granite", {"head_type": F32, "logit_scale": 8.0}), ("command-r", {"head_type": F32, "logit_scale": 0.0625}),
    ("qwen2", {"head_type": F32, "bias": True}), ("qwen2", {"bias": True, "tied": True}),
    ("phi2", {"head_type": F32}),
]


@pytest.mark.parametrize("fast", FAST)
@pytest.mark.parametrize("architecture, options", CASES, ids=str)
def test_same_as_the_reference(models: TinyModels, architecture: str, options: dict[str, Any], fast: str) -> None:
    compare(models(architecture, **options), fast, options.get("head_type", F16), 1 / TEMPERATURES)


@pytest.mark.parametrize("fast", FAST)
@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3"])
@pytest.mark.parametrize("rows, unified", [(1, False), (1, True), (3, True)])
def test_same_for_every_kind_of_context(models: TinyModels, architecture: str, rows: int, unified: bool,
                                        fast: str) -> None:
    compare(models(architecture, head_type=F32), fast, F32, 1 / TEMPERATURES[:rows], unified)


@pytest.mark.parametrize("fast", [*FAST, "reference"])
@pytest.mark.parametrize("preset", PRESETS)
def test_known_residuals(known: KnownResidual, preset: str, fast: str) -> None:
    led = PRESETS[preset]
    layers = layers_of(led, 12)
    assert layers == ((10, 9, 8, 7, 6, 5, 4) if preset == "reference" else (11, 10, 9, 8, 7, 6, 5))
    rows, tokens = np.array([2, 0]), (9, 7)
    inv_temp = 1 / TEMPERATURES
    tap = ReferenceTap(known.path) if fast == "reference" else fast_tap(fast)
    with loaded(known.path) as model, opened(model, tap, layers) as context:
        step(tap, context, inv_temp)
        ids = np.tile(np.arange(model.n_vocab, dtype=np.int32), (2, 1))
        posteriors = tap.project(rows, ids, layers, led.norm, inv_temp[rows])
        entropies, _ranks = tap.measure(rows, layers, led.norm)
    for i, token in enumerate(tokens):
        for j, layer in enumerate(layers):
            h = known.residual(token, layer).astype(np.float64)
            if led.norm:
                h /= np.sqrt(np.square(h).mean() + 1e-5)
            z = known.head.astype(np.float64) @ h
            np.testing.assert_allclose(posteriors[i, j], softmax(z * inv_temp[rows[i]]), rtol=1e-4, atol=1e-9)
            assert entropies[i, j] == pytest.approx(scipy_entropy(softmax(z)), abs=1e-4)


def test_a_split_decode_is_an_error(models: TinyModels) -> None:
    with loaded(models("qwen3")) as model:
        tap = PluginTap()
        with opened(model, tap, [2, 3], sequences=2) as context:
            tap.prepare(np.ones(2))
            context.decode([Row(7, 0, 1, True), Row(9, 0, 0, True)])  # split KV wants rising sequence ids
            for ask in (tap.topk, lambda: tap.row(0), lambda: tap.measure(np.array([0]), [2], False)):
                with pytest.raises(LedlocalError, match="the decode was split"):
                    ask()
            assert tap.rows_fetched == 0
            tap.prepare(np.ones(2))
            context.decode([Row(7, 1, 0, True), Row(9, 1, 1, True)])
            assert np.isfinite(tap.topk().logsumexp).all()


def test_missing_rows_are_an_error(models: TinyModels) -> None:
    with loaded(models("qwen3")) as model:
        tap = PluginTap()
        with opened(model, tap, [2, 3], sequences=2) as context:
            tap.prepare(np.ones(2))
            context.decode([Row(7, 0, 0, True)])
            with pytest.raises(LedlocalError, match="1 rows in the last graph for 2 outputs"):
                tap.topk()


@pytest.mark.parametrize("fast", FAST)
def test_twenty_taps_in_turn_on_one_context(models: TinyModels, fast: str) -> None:
    with loaded(models("qwen3")) as model:
        plain = NoTap()
        with opened(model, plain, [], sequences=1) as context:
            step(plain, context, np.ones(1))
            want = context.logits(0)
            for _ in range(20):
                context.forget(0)
                tap = fast_tap(fast)
                tap.attach(context, [2, 3], TOP)
                step(tap, context, np.ones(1))
                everything = np.arange(model.n_vocab, dtype=np.int32)[None]
                p = tap.project(np.array([0]), everything, [2, 3], True, np.ones(1))
                np.testing.assert_allclose(p.sum(2), 1, atol=1e-4)
                np.testing.assert_allclose(tap.row(0), want, atol=LIST)
                tap.detach()
                context.forget(0)
                step(plain, context, np.ones(1))
                np.testing.assert_allclose(context.logits(0), want, atol=LIST)


@pytest.mark.parametrize("fast", FAST)
def test_same_after_a_lora_was_applied(models: TinyModels, tmp_path: Path, fast: str) -> None:
    path, inv_temp = models("qwen3", head_type=F32), 1 / TEMPERATURES
    delta = tiny_lora(tmp_path / "lora.gguf", path)
    tap, reference = fast_tap(fast), ReferenceTap(path)
    reference._head._matrix = reference._head._matrix + np.float32(0.5) * delta
    with loaded(path) as model:
        ids = np.tile(np.arange(model.n_vocab, dtype=np.int32), (3, 1))
        seen = []
        for one in (reference, tap):
            with opened(model, one, [2, 4]) as context:
                step(one, context, inv_temp)
                without = one.topk()
                for sequence in range(3):
                    context.forget(sequence)
                apply_lora(context, tmp_path / "lora.gguf", 0.5)
                step(one, context, inv_temp)
                final = one.topk()
                assert np.abs(final.logits - without.logits).max() > 0.1
                seen.append((final, [one.project(np.arange(3), ids, [2, 4], norm, inv_temp) for norm in (False, True)]))
        (want, wanted), (got, gotten) = seen
        np.testing.assert_array_equal(got.ids, want.ids)
        np.testing.assert_allclose(got.logits, want.logits, atol=LIST)
        for a, b in zip(gotten, wanted, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)
