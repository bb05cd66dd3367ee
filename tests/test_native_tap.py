"""What only the patched library does: outputs in several micro-batches, in any order, and after a LoRA was applied.

Witnesses that share nothing with the tap: llama.cpp's own logits on a context without one, its own
`llama_set_embeddings_layer_inp` (the input of layer l is the output of layer l - 1), and the output head in NumPy.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from tap_steps import fast_tap, loaded
from tiny_lora import apply_lora, tiny_lora
from tiny_models import F16, F32, Q4_K, Q8_0, TinyModels

from ledlocal.methods.final import FinalLayer
from ledlocal.runtime.library import C
from ledlocal.runtime.llama import Context, Model, Row, context_params
from ledlocal.runtime.taps.native import NativeTap
from ledlocal.runtime.taps.output_head import OutputHead
from ledlocal.values.errors import LedlocalError

TOLERANCE = {F32: 1e-4, F16: 4e-3, Q8_0: 0.06, Q4_K: 0.1}
"""Of a probability; as in test_taps the kernels round a row to 8 bits or fp16, and here are ten times as many."""
LAYERS = (1, 3, 5)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    return TinyModels(tmp_path_factory.mktemp("native"))


@pytest.fixture(autouse=True)
def built() -> None:
    fast_tap("native")


@contextmanager
def context_of(model: Model, batch: int, sequences: int, unified: bool) -> Iterator[Context]:
    params = context_params(256, sequences, 128, 1, unified)
    params.n_ubatch = batch
    params.n_outputs_max = 128
    params.n_outputs_max_per_seq = 64
    context = Context(model, params)
    try:
        yield context
    finally:
        context.close()


def mixed(rng: np.random.Generator, sequences: int, tokens: int) -> list[Row]:
    """A prompt of every sequence, one behind the other, with outputs at some of its tokens and always at the last."""
    rows = []
    for sequence in range(sequences):
        length = int(rng.integers(1, tokens))
        wanted = rng.random(length) < 0.3
        wanted[-1] = sequence == 0 or rng.random() < 0.6  # behind the last output there may be more to read
        rows += [Row(int(rng.integers(0, 256)), i, sequence, bool(wanted[i])) for i in range(length)]
    return rows


class Witness:
    """llama.cpp's own numbers of a batch: raw logits (R, V) and hidden rows (R, E) after LAYERS."""

    def __init__(self, context: Context, rows: Sequence[Row], layers: Sequence[int] = LAYERS) -> None:
        set_input = C._lib["_Z30llama_set_embeddings_layer_inpP13llama_contextjb"]
        set_input.argtypes, set_input.restype = (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_bool), None
        get_input = C._lib["_Z30llama_get_embeddings_layer_inpP13llama_contextj"]
        get_input.argtypes, get_input.restype = (ctypes.c_void_p, ctypes.c_uint32), ctypes.POINTER(ctypes.c_float)
        for layer in layers:
            set_input(context.handle, layer, True)
        context.decode(rows)
        at = [i for i, row in enumerate(rows) if row.output]
        self.logits = np.stack([context.logits(i) for i in at])
        width = context.model.n_embd
        self.hidden = {layer: np.ctypeslib.as_array(get_input(context.handle, layer), (len(rows), width))[at].copy()
                       for layer in layers}


def check(tap: NativeTap, witness: Witness, head: OutputHead, inv_temp: NDArray[np.float64], tolerance: float,
          model: Model) -> None:
    n = len(inv_temp)
    final = tap.topk()
    order = np.argsort(-witness.logits, axis=1, kind="stable")[:, :final.ids.shape[1]]
    np.testing.assert_allclose(final.logits, np.take_along_axis(witness.logits, order, 1), atol=1e-4)
    z = witness.logits.astype(np.float64) * inv_temp[:, None]
    np.testing.assert_allclose(final.logsumexp, (z - log_softmax(z, 1))[:, 0], atol=1e-4)
    np.testing.assert_allclose(final.entropy, -(softmax(z, 1) * log_softmax(z, 1)).sum(1), atol=1e-4)
    for i in range(n):
        np.testing.assert_allclose(tap.row(i), witness.logits[i], atol=1e-4)
    rows = np.arange(n)[::-1]
    ids = np.tile(np.arange(0, model.n_vocab, 5, dtype=np.int32), (n, 1))
    for layer in LAYERS:
        np.testing.assert_allclose(tap.hidden(np.arange(n), layer), witness.hidden[layer], rtol=1e-4, atol=1e-4)
        for norm in (False, True):
            got = tap.project(rows, ids, [layer], norm, inv_temp[rows])[:, 0]
            want = softmax(head.logits(witness.hidden[layer][rows], norm) * inv_temp[rows, None], 1)[:, ids[0]]
            np.testing.assert_allclose(got, want, atol=tolerance)


@pytest.mark.parametrize(("architecture", "options"), [
    ("qwen3", {"head_type": F32}), ("llama", {"tied": True}), ("qwen3moe", {}), ("qwen3", {"head_type": Q8_0}),
    ("qwen3", {"head_type": Q4_K, "n_embd": 256})], ids=str)
@pytest.mark.parametrize(("batch", "sequences", "unified"), [
    (8, 1, True), (8, 3, True), (8, 3, False), (128, 3, True), (128, 3, False)])
@pytest.mark.parametrize("block", [0, 16])
def test_mixed_outputs_in_any_number_of_micro_batches(
        architecture: str, options: dict[str, Any], batch: int, sequences: int, unified: bool, block: int,
        models: TinyModels) -> None:
    path = models(architecture, **options)
    rng = np.random.default_rng(batch + sequences + block)
    model = Model(path)
    head, tolerance = OutputHead(path), TOLERANCE[options.get("head_type", F16)]
    for _ in range(3):
        rows = mixed(rng, sequences, 20)
        inv_temp = 1 / rng.choice([0.6, 1.0, 1.7], sum(row.output for row in rows))
        with context_of(model, batch, sequences, unified) as plain:
            witness = Witness(plain, rows)
        with context_of(model, batch, sequences, unified) as context:
            tap = NativeTap(top_block=block)
            tap.attach(context, LAYERS, 20)
            for again in range(2):  # the second time its graphs are reused
                tap.prepare(inv_temp)
                context.decode(rows)
                check(tap, witness, head, inv_temp, tolerance, model)
                for sequence in range(sequences):
                    assert context.forget(sequence), again
            tap.detach()
    model.close()


@pytest.mark.parametrize("architecture", ["lfm2", "granitehybrid", "mamba"])
@pytest.mark.parametrize("batch", [8, 128])
def test_recurrent_rows_come_back_in_the_order_of_the_batch(architecture: str, batch: int, models: TinyModels) -> None:
    """llama.cpp cuts such a batch by the sequences' lengths; the logits alone tell whose row is whose."""
    path = models(architecture, head_type=F32)
    rng = np.random.default_rng(batch)
    model = Model(path)
    for _ in range(3):
        rows = mixed(rng, 3, 20)
        inv_temp = 1 / rng.choice([0.6, 1.0, 1.7], sum(row.output for row in rows))
        with context_of(model, batch, 3, False) as plain:
            plain.decode(rows)
            logits = np.stack([plain.logits(i) for i, row in enumerate(rows) if row.output])
        with context_of(model, batch, 3, False) as context:
            tap = NativeTap()
            tap.attach(context, LAYERS, 20)
            tap.prepare(inv_temp)
            context.decode(rows)
            final = tap.topk()
            np.testing.assert_allclose(final.logits, -np.sort(-logits, axis=1)[:, :20], atol=1e-3)
            for i in range(len(inv_temp)):
                np.testing.assert_allclose(tap.row(i), logits[i], atol=1e-3)
            # the last layer through the cloned head is the model's own row
            ids = np.tile(np.arange(model.n_vocab, dtype=np.int32), (len(inv_temp), 1))
            again = tap.project(np.arange(len(inv_temp)), ids, [model.n_layer], True, inv_temp)[:, 0]
            np.testing.assert_allclose(again, softmax(logits * inv_temp[:, None], 1), atol=1e-3)
            tap.detach()
    model.close()


def test_after_a_lora_was_applied(models: TinyModels, tmp_path: Path) -> None:
    path = models("qwen3", head_type=F32)
    rng = np.random.default_rng(0)
    delta = tiny_lora(tmp_path / "lora.gguf", path)
    head = OutputHead(path)
    model = Model(path)

    rows = mixed(rng, 2, 12)
    inv_temp = np.full(sum(row.output for row in rows), 1.25)
    with context_of(model, 128, 2, True) as plain:
        before = Witness(plain, rows)
    with context_of(model, 128, 2, True) as plain:
        apply_lora(plain, tmp_path / "lora.gguf", 0.5)
        witness = Witness(plain, rows)
    assert np.abs(witness.logits - before.logits).max() > 0.1
    with context_of(model, 128, 2, True) as context:
        tap = NativeTap()
        tap.attach(context, LAYERS, 20)
        tap.prepare(inv_temp)
        context.decode(rows)
        check(tap, before, head, inv_temp, TOLERANCE[F32], model)
        for sequence in range(2):
            context.forget(sequence)
        apply_lora(context, tmp_path / "lora.gguf", 0.5)
        tap.prepare(inv_temp)
        context.decode(rows)
        head._matrix = head._matrix + np.float32(0.5) * delta
        check(tap, witness, head, inv_temp, TOLERANCE[F32], model)
        tap.detach()
    model.close()


def test_a_graph_that_cannot_be_tapped_says_so_until_another_one_can(models: TinyModels, tmp_path: Path) -> None:
    """So many LoRAs that the head is refused; nothing is read from the graphs that were freed meanwhile."""
    path = models("qwen3", head_type=F32)
    tiny_lora(tmp_path / "lora.gguf", path)
    with loaded(path) as model, context_of(model, 128, 1, True) as context:
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
    model = Model(models("qwen3"))
    with context_of(model, 128, 2, True) as context:
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
        assert np.isfinite(tap.topk().logsumexp).all()
        tap.prepare(np.ones(3))
        context.decode([Row(5, 1, 0, True), Row(6, 1, 1, True)])
        with pytest.raises(LedlocalError, match="2 outputs, and 3 temperatures"):
            tap.topk()
        context.decode([Row(5, 2, 0, False)])
        with pytest.raises(LedlocalError, match="left no rows"):
            tap.topk()
        tap.detach()
    model.close()


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
