"""The fast taps against llama.cpp and NumPy, against residuals known by hand, and against what must be refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import entropy as scipy_entropy
from tap_pairs import CASES, SEQUENCES, Case, batches
from tap_steps import FAST, NATIVE, TOP, context_of, fast_tap, loaded, opened, step, wide_params
from tap_witness import FINAL, GPU, LAYERS, RANK, SAME, Callback, Truth, check, check_hidden, look
from tiny_lora import apply_lora, tiny_lora
from tiny_models import F32, Q4_K, Q8_0, KnownResidual, TinyModels, known_residual_model

from ledlocal.methods.led import layers_of
from ledlocal.runtime.install import OVERRIDE
from ledlocal.runtime.library import library_path
from ledlocal.runtime.llama import ContextParams, Model, Row
from ledlocal.runtime.taps.native import NativeTap
from ledlocal.runtime.taps.none import NoTap
from ledlocal.runtime.taps.output_head import OutputHead
from ledlocal.runtime.taps.plugin import PluginTap
from ledlocal.runtime.taps.projection import KEPT
from ledlocal.runtime.taps.protocol import Tap
from ledlocal.runtime.taps.reference import ReferenceTap
from ledlocal.values.errors import LedlocalError
from ledlocal.values.params import PRESETS

LIST = 1e-5
"""Largest difference of a logit to llama.cpp's own from the same batch: none is computed anew."""
SCALE = 0.5
"""Of a LoRA."""
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


def see(tap: Tap, case: Case, model: Model, lora: Path | None, truth: Truth,
        inv_temp: NDArray[np.float64]) -> list[dict[str, NDArray[np.floating]]]:
    """What a tap says of the case's batch, twice: the second time its graphs are used again."""
    seen = []
    before, rows = batches(case)
    params = params_of(case)
    tap.configure(params)
    with context_of(model, params) as context:
        tap.attach(context, (*LAYERS, *([model.n_layer] if isinstance(tap, ReferenceTap) else [])), TOP)
        if lora is not None:
            apply_lora(context, lora, SCALE)
        for _ in range(2):
            for sequence in range(SEQUENCES):
                assert context.forget(sequence)
            for one in before:
                context.decode(one)
            tap.prepare(inv_temp)
            context.decode(rows)
            seen.append(look(tap, model.n_vocab, (*LAYERS, model.n_layer), inv_temp))
            if isinstance(tap, NativeTap):
                check_hidden(tap, truth)
        tap.detach()
    return seen


def params_of(case: Case) -> ContextParams:
    return wide_params(case.ubatch, SEQUENCES, case.unified, 1 if case.batch == "decode" else 64)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_same_as_llama_cpp_and_numpy(models: TinyModels, tmp_path: Path, case: Case) -> None:
    if GPU and case.architecture == "gemma2" and case.head == Q4_K:
        pytest.skip("llama.cpp has no flash attention kernel with a soft cap for heads of 64")
    path = models(case.architecture, **case.options())
    head, lora = OutputHead(path), tmp_path / "lora.gguf" if case.lora else None
    if lora is not None:
        head._matrix = head._matrix + np.float32(SCALE) * tiny_lora(lora, path)
    before, rows = batches(case)
    inv_temp = 1 / case.rng().choice(TEMPERATURES, sum(row.output for row in rows))
    fasts = FAST if case.batch == "decode" else FAST[1:]  # the plugin takes single tokens
    if not NATIVE and "plugin" in fasts:
        fasts = FAST[:1]
    with loaded(path) as model:
        params = params_of(case)
        callback = Callback(params, (*LAYERS, model.n_layer))
        with context_of(model, params) as plain:
            if lora is not None:
                apply_lora(plain, lora, SCALE)
            for one in before:
                plain.decode(one)
            truth = callback.truth(plain, rows)
        seen = {fast: see(fast_tap(fast), case, model, lora, truth, inv_temp) for fast in fasts}
        if case.batch == "decode" and lora is None:  # the reference has the file's weights
            check(see(ReferenceTap(path), case, model, lora, truth, inv_temp)[1], truth, head, inv_temp, case.head)
    for both in seen.values():
        for one in both:
            check(one, truth, head, inv_temp, case.head)
            for name, values in seen[fasts[0]][0].items():
                if not name.startswith("ranks"):
                    np.testing.assert_allclose(one[name], values, atol=SAME, rtol=SAME, err_msg=name)


CASES_OF_HEADS: list[tuple[str, dict[str, Any]]] = [
    ("gemma2", {"soft_cap": 10.0}), ("gemma3", {"soft_cap": 30.0}), ("granite", {"logit_scale": 8.0}),
    ("command-r", {"logit_scale": 0.0625}), ("qwen2", {"bias": True}), ("qwen2", {"bias": True, "tied": True})]


@pytest.mark.parametrize("fast", FAST)
@pytest.mark.parametrize("architecture, options", CASES_OF_HEADS, ids=str)
def test_same_as_the_reference(models: TinyModels, architecture: str, options: dict[str, Any], fast: str) -> None:
    path, inv_temp, seen = models(architecture, head_type=F32, **options), 1 / TEMPERATURES, []
    with loaded(path) as model:
        layers = range(1, model.n_layer + 1)
        for tap in (ReferenceTap(path), fast_tap(fast)):
            with opened(model, tap, layers, 3) as context:
                step(tap, context, inv_temp)
                seen.append(look(tap, model.n_vocab, layers, inv_temp))
    want, got = seen
    for name, values in got.items():
        most = RANK[F32] if GPU and name.startswith("ranks") else FINAL
        np.testing.assert_allclose(values, want[name], atol=most, rtol=SAME, err_msg=name)


@pytest.mark.parametrize("fast", FAST[:2])
def test_a_head_of_several_blocks(models: TinyModels, fast: str) -> None:
    """Its probabilities are those of a head in one piece, up to the rounding of what it is multiplied with."""
    path, layers, found = models("gemma2", head_type=Q8_0, vocab=70_001, soft_cap=10.0), (1, 2), []
    inv_temp = 1 / TEMPERATURES
    with loaded(path) as model:
        for tap in (ReferenceTap(path), fast_tap(fast)):
            with opened(model, tap, layers, 3) as context:
                step(tap, context, inv_temp)
                ids = np.tile(np.arange(0, model.n_vocab, 101, dtype=np.int32), (3, 1))
                found.append(tap.project(np.arange(3), ids, layers, True, inv_temp))
    np.testing.assert_allclose(np.log(found[1]), np.log(found[0]), atol=0.2)
    assert np.log(found[0]).std(axis=2).min() > 1


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
            np.testing.assert_allclose(posteriors[i, j], softmax(z * inv_temp[rows[i]]), rtol=2 * FINAL, atol=1e-9)
            assert entropies[i, j] == pytest.approx(scipy_entropy(softmax(z)), abs=FINAL)


@pytest.mark.parametrize("fast", FAST[:2])
def test_any_number_of_rows_after_any_other(models: TinyModels, fast: str) -> None:
    """Graphs of other numbers are kept, outgrown and thrown away; every row has what it has alone."""
    sequences, layers, rng = 2 * KEPT, (2, 3), np.random.default_rng(5)
    ids = rng.integers(0, 256, (sequences, 4)).astype(np.int32)
    inv_temp = rng.uniform(0.5, 2, sequences)
    with loaded(models("qwen3", head_type=F32)) as model:
        tap = fast_tap(fast)
        with opened(model, tap, layers, sequences) as context:
            tap.prepare(inv_temp)
            context.decode([Row(7 + i, 0, i, True) for i in range(sequences)])
            tap.topk()
            alone = {norm: np.concatenate([tap.project(np.array([i]), ids[i:i + 1], layers, norm, inv_temp[i:i + 1])
                                           for i in range(sequences)]) for norm in (False, True)}
            entropies = tap.measure(np.arange(sequences), layers, True)[0]
            for n in rng.permutation(np.repeat(np.arange(1, sequences + 1), 3)).tolist():
                rows, norm = rng.permutation(sequences)[:n], bool(rng.integers(2))
                found = tap.project(rows, ids[rows], layers, norm, inv_temp[rows])
                np.testing.assert_allclose(found, alone[norm][rows], atol=FINAL)
                if n % 5 == 0:
                    np.testing.assert_allclose(tap.measure(rows, layers, True)[0], entropies[rows], atol=FINAL)


@pytest.mark.parametrize("fast", FAST)
def test_temperatures_may_change_or_stay_and_rows_come_and_go(models: TinyModels, fast: str) -> None:
    with loaded(models("qwen3")) as model:
        tap = fast_tap(fast)
        with opened(model, tap, [2, 3]) as context:
            steps = [1, 1, 1], [2, 1, 1], [2, 1], [2, 0.5], [2, 0.5, 1], [2, 0.5, 1], [1, 1, 1]
            for at, inv_temp in enumerate(np.array(one, np.float64) for one in steps):
                tap.prepare(inv_temp)
                context.decode([Row(7 + i, at, i, True) for i in range(len(inv_temp))])
                logits = np.stack([tap.row(i) for i in range(len(inv_temp))]).astype(np.float64)
                np.testing.assert_allclose(tap.topk().logsumexp, np.log(np.exp(logits * inv_temp[:, None]).sum(1)),
                                           atol=FINAL)
                if len(inv_temp) == 2:
                    context.decode([Row(9, at, 2, False)])


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
