"""What only the patched library does: outputs in several micro-batches, in any order, and what it keeps meanwhile.

Hidden rows are llama.cpp's own `llama_set_embeddings_layer_inp` here: another witness than in test_taps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from tap_steps import context_of, fast_tap, loaded, wide_params
from tap_witness import FINAL, LAYERS, check, check_hidden, cpu_only, layer_inputs, look
from tiny_lora import apply_lora, tiny_lora
from tiny_models import F32, TinyModels

from ledlocal.methods.final import FinalLayer
from ledlocal.runtime.llama import Context, Row, context_params
from ledlocal.runtime.taps.native import NativeTap
from ledlocal.runtime.taps.output_head import OutputHead
from ledlocal.values.errors import LedlocalError


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    return TinyModels(tmp_path_factory.mktemp("native"))


@pytest.fixture(autouse=True)
def built() -> None:
    fast_tap("native")


def mixed(rng: np.random.Generator, sequences: int, tokens: int) -> list[Row]:
    """A prompt of every sequence, one behind the other, with outputs at some of its tokens and always at the last."""
    rows = []
    for sequence in range(sequences):
        length = int(rng.integers(1, tokens))
        wanted = rng.random(length) < 0.3
        wanted[-1] = sequence == 0 or rng.random() < 0.6  # behind the last output there may be more to read
        rows += [Row(int(rng.integers(0, 256)), i, sequence, bool(wanted[i])) for i in range(length)]
    return rows


@pytest.mark.parametrize(("ubatch", "sequences", "unified"), [
    (8, 1, True), (8, 3, True), (8, 3, False), (512, 3, True), (512, 3, False)])
@pytest.mark.parametrize("block", [0, 16])
def test_mixed_outputs_in_any_number_of_micro_batches(ubatch: int, sequences: int, unified: bool, block: int,
                                                      models: TinyModels) -> None:
    path = models("qwen3", head_type=F32)
    rng = np.random.default_rng(ubatch + sequences + block)
    head, params = OutputHead(path), wide_params(ubatch, sequences, unified)
    with loaded(path) as model:
        for _ in range(3):
            rows = mixed(rng, sequences, 20)
            inv_temp = 1 / rng.choice([0.6, 1.0, 1.7], sum(row.output for row in rows))
            with context_of(model, params) as plain:
                truth = layer_inputs(plain, rows)
            with context_of(model, params) as context:
                tap = NativeTap(top_block=block)
                tap.attach(context, LAYERS, 20)
                for again in range(2):  # the second time its graphs are reused
                    tap.prepare(inv_temp)
                    context.decode(rows)
                    check(look(tap, model.n_vocab, LAYERS, inv_temp), truth, head, inv_temp, F32)
                    check_hidden(tap, truth)
                    for sequence in range(sequences):
                        assert context.forget(sequence), again
                tap.detach()


def read(tap: NativeTap, context: Context, rows: list[Row], n: int = 0) -> np.ndarray:
    """Decode from scratch and project the first n outputs, or all: (n, layers, 320)."""
    for sequence in range(context.n_seq_max):
        context.forget(sequence)
    n = n or sum(row.output for row in rows)
    tap.prepare(np.ones(sum(row.output for row in rows)))
    context.decode(rows)
    ids = np.tile(np.arange(320, dtype=np.int32), (n, 1))
    return tap.project(np.arange(n), ids, LAYERS, True, np.ones(n))


def test_a_refused_decode_leaves_no_rows(models: TinyModels) -> None:
    """Those of the decode before it are not taken for its own."""
    with loaded(models("qwen3", head_type=F32)) as model, context_of(model, wide_params(512, 2, True)) as context:
        tap = NativeTap()
        tap.attach(context, LAYERS, 20)
        read(tap, context, [Row(7, 0, 0, True)])
        tap.prepare(np.ones(1))
        with pytest.raises(LedlocalError):
            context.decode([Row(5, 50, 0, True)])
        for look_at in (tap.topk, lambda: tap.row(0), lambda: tap.hidden(np.arange(1), LAYERS[0])):
            with pytest.raises(LedlocalError, match="the last decode left no rows"):
                look_at()
        tap.detach()


def test_logits_reach_the_host_for_whoever_asks(models: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bringing them is left out only if the tap's parameters say so."""
    rows = mixed(np.random.default_rng(1), 2, 12)
    at, params = [i for i, row in enumerate(rows) if row.output], wide_params(8, 2, True)
    with loaded(models("qwen3", head_type=F32)) as model:
        with context_of(model, params) as plain:
            plain.decode(rows)
            want = [plain.logits(i) for i in at]
        with context_of(model, params) as context:
            tap = NativeTap()
            attach = tap._set

            def with_logits(handle: Any, pointer: Any) -> int:
                if pointer is not None:
                    pointer._obj.skip_logits = False
                return int(attach(handle, pointer))

            monkeypatch.setattr(tap, "_set", with_logits)
            tap.attach(context, LAYERS, 20)
            tap.prepare(np.ones(len(at)))
            context.decode(rows)
            np.testing.assert_allclose([context.logits(i) for i in at], want, atol=FINAL)
            np.testing.assert_allclose([tap.row(i) for i in range(len(at))], want, atol=FINAL)
            tap.detach()


def test_a_lora_that_comes_between_two_decodes_of_one_kind(models: TinyModels, tmp_path: Path) -> None:
    """The same rows are asked for each time: the second graph has the same shape as before, and other weights."""
    path = models("qwen3", head_type=F32)
    delta = tiny_lora(tmp_path / "lora.gguf", path)
    rows = mixed(np.random.default_rng(0), 2, 12)
    params = wide_params(512, 2, True)
    with loaded(path) as model, context_of(model, params) as context:
        tap = NativeTap()
        tap.attach(context, LAYERS, 20)
        for scales in ((), (0.5,), (1.0,), ()):
            head = OutputHead(path)
            head._matrix = head._matrix + np.float32(sum(scales)) * delta
            with context_of(model, params) as plain:
                apply_lora(plain, tmp_path / "lora.gguf", *scales)
                truth = layer_inputs(plain, rows)
            apply_lora(context, tmp_path / "lora.gguf", *scales)
            got = read(tap, context, rows)
            for j, hidden in enumerate(truth.hidden.values()):
                np.testing.assert_allclose(got[:, j], softmax(head.logits(hidden, True), 1), atol=FINAL)
        tap.detach()


def test_more_rows_than_one_run_of_the_second_graph_takes(models: TinyModels) -> None:
    """100 rows at 3 layers are projected in runs of 256 and 44."""
    with loaded(models("qwen3", head_type=F32)) as model, context_of(model, wide_params(512, 2, True)) as context:
        tap = NativeTap()
        tap.attach(context, LAYERS, 20)
        rows = [Row(7 * i % 256, i, sequence, True) for sequence in range(2) for i in range(50)]
        whole = read(tap, context, rows)
        ids, at = np.tile(np.arange(320, dtype=np.int32), (10, 1)), np.arange(100).reshape(10, 10)
        parts = [tap.project(part, ids, LAYERS, True, np.ones(10)) for part in at]
        np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-6)
        entropies, ranks = tap.measure(np.arange(100), LAYERS, True)
        measured = [tap.measure(part, LAYERS, True) for part in at]
        np.testing.assert_allclose(entropies, np.concatenate([one for one, _ in measured]), atol=1e-5)
        np.testing.assert_array_equal(ranks, np.concatenate([one for _, one in measured]))
        tap.detach()


def test_rows_are_read_where_a_larger_decode_put_them(models: TinyModels) -> None:
    """More rows are kept than before, elsewhere; the graphs are those of the smaller decode, used again."""
    decodes = [[Row(40 + i, i, 0, True) for i in range(n)] for n in (16, 48, 16, 48)]
    params = wide_params(8, 1, True)
    with loaded(models("qwen3", head_type=F32)) as model:
        with context_of(model, params) as plain:
            hidden = layer_inputs(plain, decodes[1]).hidden
        head = OutputHead(model.path)
        want = [softmax(head.logits(rows[:2], True), 1) for rows in hidden.values()]
        with context_of(model, params) as context:
            tap = NativeTap()
            tap.attach(context, LAYERS, 20)
            for rows in decodes:
                np.testing.assert_allclose(read(tap, context, rows, 2), np.stack(want, 1), atol=FINAL)
            tap.detach()


@pytest.mark.parametrize("behind", [0, 1, 3])
def test_rows_of_earlier_micro_batches_are_kept(models: TinyModels, behind: int) -> None:
    """All outputs are in the first micro-batch, and others without any, or with one, overwrite its logits."""
    rows = [Row(30 + i, i, 0, i < 3 or i == 8 + behind) for i in range(24)]
    with loaded(models("qwen3", head_type=F32)) as model, context_of(model, wide_params(8, 1, True)) as context:
        context.decode(rows)
        want = np.stack([context.logits(i) for i, row in enumerate(rows) if row.output])
        tap = NativeTap()
        tap.attach(context, LAYERS, 20)
        for part in (rows, [Row(row.token, row.position, 0, i < 3) for i, row in enumerate(rows)]):
            read(tap, context, part)
            n = sum(row.output for row in part)
            np.testing.assert_allclose(np.stack([tap.row(i) for i in range(n)]), want[:n], atol=FINAL)
        tap.detach()


def test_a_temperature_is_for_one_decode(models: TinyModels) -> None:
    with loaded(models("qwen3", head_type=F32)) as model, context_of(model, wide_params(512, 1, True)) as context:
        context.decode([Row(5, 0, 0, True)])
        z = context.logits(0).astype(np.float64)
        tap = NativeTap()
        tap.attach(context, LAYERS, 20)
        for prepared, inv_temp in ((True, 2.0), (False, 1.0)):
            context.forget(0)
            if prepared:
                tap.prepare(np.full(1, inv_temp))
            context.decode([Row(5, 0, 0, True)])
            assert tap.topk().logsumexp[0] == pytest.approx(logsumexp(z * inv_temp), abs=1e-4)
        tap.detach()


def test_a_graph_that_cannot_be_tapped_says_so_until_another_one_can(models: TinyModels, tmp_path: Path) -> None:
    """So many LoRAs that the head is refused; nothing is read from the graphs that were freed meanwhile."""
    path = models("qwen3", head_type=F32)
    tiny_lora(tmp_path / "lora.gguf", path)
    with loaded(path) as model, context_of(model, wide_params(512, 1, True)) as context:
        tap = NativeTap()
        tap.attach(context, LAYERS, 20)

        def ask(token: int) -> FinalLayer:
            context.forget(0)
            tap.prepare(np.ones(1))
            context.decode([Row(token, 0, 0, True)])
            return tap.topk()

        ids = np.zeros((1, 3), np.int32)
        want = ask(5).logits
        apply_lora(context, tmp_path / "lora.gguf", *np.full(70, 1e-6))
        for token in (5, 6):  # the second decode uses the graph of the first again
            with pytest.raises(LedlocalError, match="left no rows: its output head does not start at the last layer"):
                ask(token)
            for read in (lambda: tap.row(0), lambda: tap.project(np.array([0]), ids, [1], True, np.ones(1)),
                         lambda: tap.measure(np.array([0]), [1], True), lambda: tap.hidden(np.array([0]), 1)):
                with pytest.raises(LedlocalError, match="left no rows: its output head"):
                    read()
        apply_lora(context, tmp_path / "lora.gguf")
        np.testing.assert_array_equal(ask(5).logits, want)
        assert np.isfinite(tap.row(0)).all() and np.isfinite(tap.measure(np.array([0]), [1], True)[0]).all()
        context.decode([Row(5, 1, 0, False)])
        with pytest.raises(LedlocalError, match=r"left no rows$"):
            tap.topk()
        tap.detach()


def test_what_is_out_of_range_is_an_error_and_changes_nothing(models: TinyModels) -> None:
    with loaded(models("qwen3")) as model, context_of(model, wide_params(512, 2, True)) as context:
        tap = NativeTap()
        with pytest.raises(LedlocalError, match="out of range"):
            NativeTap(top_block=7).attach(context, LAYERS, 20)
        with pytest.raises(LedlocalError, match="out of range"):
            tap.attach(context, [99], 20)
        tap.attach(context, LAYERS, 20)
        with pytest.raises(LedlocalError, match="left no rows"):
            tap._inv_temp = np.ones(1)
            tap.topk()
        for wrong in (np.zeros(1), np.full(1, np.nan), np.full(1, -1.0)):
            with pytest.raises(ValueError, match="positive and finite"):
                tap.prepare(wrong)
        tap.prepare(np.ones(2))
        context.decode([Row(5, 0, 0, True), Row(6, 0, 1, True)])
        ids = np.zeros((1, 3), np.int32)
        for rows, tokens in (([2], ids), ([-1], ids), ([0], ids + model.n_vocab), ([0], ids - 1)):
            with pytest.raises(ValueError, match="out of range"):
                tap.project(np.array(rows), tokens, [1], False, np.ones(1))
        for row in (-1, 2):
            with pytest.raises(ValueError, match="no row"):
                tap.row(row)
        assert np.isfinite(tap.topk().logsumexp).all() and tap._why(context) == ""
        tap.prepare(np.ones(3))
        context.decode([Row(5, 1, 0, True), Row(6, 1, 1, True)])
        with pytest.raises(LedlocalError, match="2 outputs, and 3 temperatures"):
            tap.topk()
        context.decode([Row(5, 2, 0, False)])
        with pytest.raises(LedlocalError, match="left no rows"):
            tap.topk()
        tap.detach()


@cpu_only
def test_prompts_take_hardly_more_memory_with_a_tap(models: TinyModels) -> None:
    """The rows of the outputs are taken right behind each layer: no whole layer is kept for them."""
    from ledlocal.runtime.footprint import Footprint
    from ledlocal.runtime.memory import HOST
    from ledlocal.values.params import EngineOptions

    path = models("qwen3", n_embd=512, n_layer=12, n_head=8)
    footprint = Footprint(EngineOptions(str(path), tap="none"), False)
    params = context_params(512, 1, 512, 1, True)
    plain = footprint.needs(params)[HOST].compute
    context = Context(footprint.model, params)
    NativeTap().attach(context, range(4, 12), 20)
    tapped = sum(node.compute for node in footprint._nodes(footprint._function(context.handle)))  # type: ignore[misc]
    context.close()
    footprint.close()
    assert tapped < plain + 2 * 2**20, (tapped, plain)  # eight whole layers would take 8 MiB
