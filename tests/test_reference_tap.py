"""The reference tap against llama.cpp's own logits, against SciPy, and against a model whose residuals are known."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from scipy.stats import entropy as scipy_entropy
from tiny_models import F32, Q4_K, Q6_K, Q8_0, KnownResidual, TinyModels, known_residual_model
from tiny_recipes import UNTAPPABLE

from ledlocal.runtime.llama import Context, Model, Row, context_params
from ledlocal.runtime.taps.output_head import KNOWN
from ledlocal.runtime.taps.protocol import Tap
from ledlocal.runtime.taps.reference import ReferenceTap, entropy, log_sum_exp
from ledlocal.values.errors import LedlocalError, TapRefused

BOTH = np.array([0, 1])
ONES = np.ones(2)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    return TinyModels(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> KnownResidual:
    return known_residual_model(tmp_path_factory.mktemp("known") / "known.gguf", n_layer=12)


@contextmanager
def attached(path: Path, layers: Sequence[int] | None = None, top: int = 64) -> Iterator[tuple[ReferenceTap, Context]]:
    """The tap on all layers, the final one too unless told otherwise, of a context of two sequences."""
    tap = ReferenceTap(path)
    model = Model(path)
    params = context_params(128, 2, 64, 1, False)
    tap.configure(params)
    context = Context(model, params)
    try:
        tap.attach(context, range(1, model.n_layer + 1) if layers is None else layers, top)
        yield tap, context
        tap.detach()
    finally:
        context.close()
        model.close()


def step(tap: Tap, context: Context, inv_temp: NDArray[np.float64] = ONES) -> NDArray[np.float32]:
    """A prompt for sequence 0, then one output row for each of two sequences; llama.cpp's logits, (2, V)."""
    context.decode([Row(token, i, 0, False) for i, token in enumerate(b"hello there")])
    tap.prepare(inv_temp)
    context.decode([Row(7, 11, 0, True), Row(9, 0, 1, True)])
    return np.stack([context.logits(0), context.logits(1)])


def test_list_is_the_head_of_llama_cpps_logits(models: TinyModels) -> None:
    inv_temp = np.array([1 / 0.6, 1.0])
    with attached(models("qwen3"), [2, 4], top=20) as (tap, context):
        z = step(tap, context, inv_temp)
        final = tap.topk()
    scaled = z.astype(np.float64) * inv_temp[:, None]
    assert not final.complete
    np.testing.assert_array_equal(final.ids, np.argsort(-z, 1)[:, :20])
    np.testing.assert_array_equal(final.logits, -np.sort(-z, 1)[:, :20])
    p = np.take_along_axis(softmax(scaled, 1), final.ids.astype(int), 1)
    np.testing.assert_allclose(final.probs(), p, rtol=1e-9)
    np.testing.assert_allclose(final.entropy, scipy_entropy(softmax(scaled, 1), axis=1), rtol=1e-9)


def test_whole_vocabulary_as_list(models: TinyModels) -> None:
    with attached(models("qwen3"), [2], top=1000) as (tap, context):
        step(tap, context)
        final = tap.topk()
    assert final.complete
    assert final.ids.shape == (2, 320)
    np.testing.assert_allclose(final.probs().sum(1), 1, rtol=1e-9)


def test_ties_are_sorted_by_id(models: TinyModels) -> None:
    tap = ReferenceTap(models("qwen3"))
    tap._top = 60
    tap._inv_temp = np.ones(1)
    tap._logits = (np.arange(100, dtype=np.float32) % 2)[None]
    assert tap.topk().ids[0].tolist() == [*range(1, 100, 2), *range(0, 20, 2)]


def test_every_step_is_captured_anew(known: KnownResidual) -> None:
    with attached(known.path, [6]) as (tap, context):
        step(tap, context)
        np.testing.assert_array_equal(tap.hidden(BOTH, 6)[0], known.residual(7, 6))
        tap.prepare(np.ones(1))
        context.decode([Row(20, 1, 1, True)])
        assert tap.topk().ids[0, 0] == context.logits(0).argmax()
        np.testing.assert_array_equal(tap.hidden(np.array([0]), 6)[0], known.residual(20, 6))


HEADS: list[tuple[str, dict[str, Any]]] = [(architecture, {}) for architecture in KNOWN] + [
    ("qwen2", {"bias": True}), ("llama", {"tied": True}), ("qwen3", {"tied": True}), ("gemma3", {"soft_cap": 3.0}),
    ("gemma2", {"soft_cap": 30.0}), ("granite", {"logit_scale": 8.0}), ("command-r", {"logit_scale": 0.0625}),
    ("qwen3", {"head_type": F32}), ("qwen3", {"vocab": 5000}),
]


@pytest.mark.parametrize("architecture, options", HEADS, ids=str)
def test_last_layer_through_the_head_is_llama_cpps_logits(models: TinyModels, architecture: str,
                                                          options: dict[str, Any]) -> None:
    with attached(models(architecture, **options)) as (tap, context):
        last = context.model.n_layer
        z = step(tap, context)
        probs = tap.topk().probs()
        np.testing.assert_allclose(tap.layer_logits(BOTH, last, True), z, atol=5e-3)
        np.testing.assert_allclose(tap.project(BOTH, tap.topk().ids, [last], True, ONES)[:, 0], probs, atol=2e-3)
        tap.prepare(np.ones(1))
        context.decode([Row(8, 1, 1, True)])  # one row takes another way through llama.cpp's kernels
        np.testing.assert_allclose(tap.layer_logits(np.array([0]), last, True)[0], context.logits(0), atol=5e-3)


@pytest.mark.parametrize("head_type", [Q8_0, Q4_K, Q6_K])
def test_quantized_heads(models: TinyModels, head_type: int) -> None:
    with attached(models("llama", head_type=head_type, n_embd=256)) as (tap, context):
        z = step(tap, context)
        error = tap.layer_logits(BOTH, 6, True) - z
    assert np.sqrt(np.square(error).mean()) < 0.06
    assert np.abs(error).max() < 0.3


@pytest.mark.parametrize("architecture", ["llama", "qwen3moe", "gemma2", "lfm2", "mamba"])
def test_layers_differ_visibly(models: TinyModels, architecture: str) -> None:
    with attached(models(architecture)) as (tap, context):
        step(tap, context)
        everything = np.tile(np.arange(320, dtype=np.int32), (2, 1))
        p = tap.project(BOTH, everything, range(1, 7), True, ONES)
    np.testing.assert_allclose(p.sum(2), 1, atol=1e-5)
    assert (np.abs(np.diff(p, axis=1)).sum(2) / 2 > 0.03).all(), "total variation between neighbouring layers"


def preset_layers(preset: str, depth: int, n_layer: int) -> list[int]:
    first = n_layer - 2 if preset == "reference" else n_layer - 1
    return [first - i for i in range(depth - 1)]


@pytest.mark.parametrize("preset", ["reference", "paper"])
@pytest.mark.parametrize("norm", [False, True])
def test_known_residuals(known: KnownResidual, preset: str, norm: bool) -> None:
    layers = preset_layers(preset, 8, 12)
    assert layers == ([10, 9, 8, 7, 6, 5, 4] if preset == "reference" else [11, 10, 9, 8, 7, 6, 5])
    inv_temp = np.array([1 / 0.6, 1.0])
    with attached(known.path, layers) as (tap, context):
        step(tap, context)
        rows = np.array([1, 0])
        ids = tap.topk().ids[rows][:, :8]
        p = tap.project(rows, ids, layers, norm, inv_temp)
        for j, layer in enumerate(layers):
            by_hand = np.stack([known.residual(9, layer), known.residual(7, layer)])
            np.testing.assert_array_equal(tap.hidden(rows, layer), by_hand)
            if norm:
                by_hand = by_hand / np.sqrt(np.square(by_hand).mean(1, keepdims=True) + 1e-5)
            posterior = softmax(by_hand.astype(np.float64) @ known.head.T * inv_temp[:, None], 1)
            np.testing.assert_allclose(p[:, j], np.take_along_axis(posterior, ids.astype(int), 1), rtol=1e-5)


def test_measure(known: KnownResidual) -> None:
    layers = [3, 11]
    with attached(known.path, layers) as (tap, context):
        best = step(tap, context).argmax(1)
        entropies, ranks = tap.measure(BOTH, layers, False)
    for i, token in enumerate((7, 9)):
        for j, layer in enumerate(layers):
            z = known.head.astype(np.float64) @ known.residual(token, layer)
            assert ranks[i, j] == list(np.lexsort((np.arange(len(z)), -z))).index(best[i])
            assert entropies[i, j] == pytest.approx(scipy_entropy(softmax(z)), rel=1e-9)
    assert ranks.max() > 0


def test_row_is_counted(models: TinyModels) -> None:
    with attached(models("qwen3"), [1]) as (tap, context):
        z = step(tap, context)
        tap.topk()
        assert tap.rows_fetched == 0
        np.testing.assert_array_equal(tap.row(1), z[1])
        assert tap.rows_fetched == 1


def test_a_tap_alters_nothing(models: TinyModels) -> None:
    model = Model(models("qwen3"))
    context = Context(model, context_params(128, 2, 64, 1, False))
    plain = step(ReferenceTap(models("qwen3")), context)
    context.close()
    model.close()
    with attached(models("qwen3")) as (tap, context):
        np.testing.assert_allclose(step(tap, context), plain, atol=1e-5)


@pytest.mark.parametrize("architecture", UNTAPPABLE)
def test_unknown_heads_are_refused(models: TinyModels, architecture: str) -> None:
    with pytest.raises(TapRefused, match=f"does not know.*'{architecture}'"):
        ReferenceTap(models(architecture))


def test_rows_in_several_ubatches_are_an_error_not_a_crash(models: TinyModels) -> None:
    with attached(models("qwen3")) as (tap, context):
        tap.prepare(ONES)
        context.decode([Row(7, 0, 1, True), Row(9, 0, 0, True)])  # split KV wants rising sequence ids
        with pytest.raises(LedlocalError, match="in one ubatch"):
            tap.topk()
        tap.prepare(ONES)
        context.decode([Row(7, 1, 0, True), Row(9, 1, 1, True)])
        assert np.isfinite(tap.topk().logsumexp).all()


def test_tokens_without_output_are_an_error(models: TinyModels) -> None:
    with attached(models("qwen3"), [3, 4]) as (tap, context):
        step(tap, context)
        tap.topk()
        tap.prepare(np.ones(1))
        context.decode([Row(7, 12, 0, False), Row(9, 13, 0, True)])
        with pytest.raises(LedlocalError, match="layer 3 has shape"):
            tap.topk()
        with pytest.raises(LedlocalError, match="captured no decode"):
            tap.row(0)


def test_two_decodes_for_one_preparation_are_an_error(models: TinyModels) -> None:
    with attached(models("qwen3"), [3]) as (tap, context):
        tap.prepare(np.ones(1))
        for position in range(2):
            context.decode([Row(7, position, 0, True)])
        with pytest.raises(LedlocalError, match="layer 3 was computed twice"):
            tap.topk()


def test_no_decode_is_an_error(models: TinyModels) -> None:
    with attached(models("qwen3"), [3]) as (tap, _context):
        with pytest.raises(LedlocalError, match="captured no decode"):
            tap.topk()
        tap.prepare(np.ones(1))
        with pytest.raises(LedlocalError, match="no output of layer 3"):
            tap.topk()


def test_layers_outside_the_model_are_an_error(models: TinyModels) -> None:
    for layer in (0, 7):
        with pytest.raises(ValueError, match="1 to 6"), attached(models("qwen3"), [layer]):
            pass


def test_detached_tap_lets_the_context_go_on(models: TinyModels) -> None:
    with attached(models("qwen3")) as (tap, context):
        tap.prepare(ONES)
        tap.detach()
        assert context.decode([Row(7, 0, 0, True)])
        with pytest.raises(LedlocalError, match="captured no decode"):
            tap.measure(BOTH, [1], False)


def test_sums_of_awkward_rows() -> None:
    inf = np.inf
    z = np.array([[1000.0, 999.0, -inf], [-1e4, -1e4, -1e4], [0.0, np.nan, 1.0], [0.0, inf, 1.0], [5.0, -inf, -inf]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total, h = log_sum_exp(z), entropy(z)
    p = np.array([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))])
    np.testing.assert_allclose(total, [1000 + np.log1p(np.exp(-1)), -1e4 + np.log(3), np.nan, np.nan, 5])
    np.testing.assert_allclose(h, [-(p * np.log(p)).sum(), np.log(3), np.nan, np.nan, 0], atol=1e-12)
    np.testing.assert_allclose(log_softmax(z[:2], 1), z[:2] - total[:2, None])
