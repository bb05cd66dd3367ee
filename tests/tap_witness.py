"""What a tap must say, from sources that share nothing with the fast taps.

Logits are llama.cpp's own, on a context without a tap; hidden rows come from its evaluation callback, or from
`llama_set_embeddings_layer_inp`; the output head is NumPy's.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from tiny_models import F16, F32, Q4_K, Q8_0

from ledlocal.runtime import ggml
from ledlocal.runtime.library import C
from ledlocal.runtime.llama import Context, ContextParams, Row
from ledlocal.runtime.taps.native import NativeTap
from ledlocal.runtime.taps.output_head import OutputHead
from ledlocal.runtime.taps.protocol import Tap

LAYERS = (1, 3, 5)
STEP = 5
"""Every fifth token is a candidate."""
GPU = any(ggml.device_type(ggml.device_at(i)) != ggml.CPU_DEVICE for i in range(ggml.device_count()))
"""Kernels there multiply F32 in TF32: ten bits of mantissa, as F16."""
PROBABILITY = {F32: 4e-3 if GPU else 1e-4, F16: 8e-3 if GPU else 4e-3, Q8_0: 0.06, Q4_K: 0.1}
"""Largest difference of a probability. NumPy multiplies the unrounded hidden row; llama.cpp's kernels round it to the
head's companion type (OutputHead has the measured logits): none for F32, fp16, or 8-bit blocks."""
ENTROPY = {F32: 2e-2 if GPU else 1e-3, F16: 2e-2, Q8_0: 0.2, Q4_K: 0.4}
"""Largest difference of an entropy, in nats, for the same reason: it moves by about |log p| times a probability."""
RANK = {F32: 4 if GPU else 1, F16: 4, Q8_0: 30, Q4_K: 60}
"""Places by which a token may move among 320: neighbours of nearly equal logits change places."""
FINAL = 5e-3 if GPU else 1e-4
"""Logits and sums of the final layer: the same kernels, other micro-batches."""
SAME = 5e-3 if GPU else 1e-5
"""Of two taps on one batch, relative: the same kernels, other graphs."""
cpu_only = pytest.mark.skipif(GPU, reason="bit-equal rows and separate memory are the CPU's alone")


@dataclass(frozen=True)
class Truth:
    """Raw logits (R, V), and hidden rows (R, E) after layers, of one batch's outputs."""

    logits: NDArray[np.float32]
    hidden: dict[int, NDArray[np.float32]]


class Callback:
    """Takes hidden rows out while llama.cpp computes, whatever micro-batches it cuts; tokens must be all different."""

    def __init__(self, params: ContextParams, layers: Sequence[int]) -> None:
        self._function = C.ggml_backend_sched_eval_callback(self._evaluate)
        params.cb_eval = self._function
        self._names = {b"l_out-%d" % (layer - 1): layer for layer in layers}
        self._rows: Sequence[Row] = ()
        self._failure: Exception | None = None

    def truth(self, context: Context, rows: Sequence[Row]) -> Truth:
        """Decode the rows; context is of the `params` given above."""
        self._rows = rows
        self._number = {i: n for n, i in enumerate(i for i, row in enumerate(rows) if row.output)}
        self._place = {row.token: i for i, row in enumerate(rows)}
        self._hidden = {layer: np.full((len(self._number), context.model.n_embd), np.nan, np.float32)
                        for layer in self._names.values()}
        context.decode(rows)
        logits = np.stack([context.logits(i) for i in self._number])
        if self._failure is not None:
            raise self._failure
        self._rows = ()
        return Truth(logits, self._hidden)

    @staticmethod
    def _embeds(pointer: int) -> bool:
        return (ggml.op(pointer) == b"GET_ROWS"
                and ggml.tensor(ggml.tensor(pointer).src[0]).name == b"token_embd.weight")

    def _evaluate(self, pointer: int, ask: bool, _user: object) -> bool:
        if ask:
            return bool(self._rows) and (ggml.tensor(pointer).name in self._names or self._embeds(pointer))
        try:
            self._take(pointer)
        except Exception as error:  # must not cross the C frames above
            self._failure = error
        return True

    def _take(self, pointer: int) -> None:
        node = ggml.tensor(pointer)
        if self._embeds(pointer):
            tokens = ggml.read(node.src[1], (node.ne[1],), np.int32)
            self._at = [self._place[token] for token in tokens.tolist()]
            return
        count = node.ne[1] * node.ne[2] * node.ne[3]
        at = self._at if count == len(self._at) else [i for i in self._at if i in self._number]
        assert count == len(at)
        values = ggml.read(pointer, (count, node.ne[0]), np.float32)
        for i, row in zip(at, values, strict=True):
            if i in self._number:
                self._hidden[self._names[node.name]][self._number[i]] = row


def layer_inputs(context: Context, rows: Sequence[Row], layers: Sequence[int] = LAYERS) -> Truth:
    """By llama.cpp's own means: the input of layer l is the output of layer l - 1."""
    set_input = C._lib["_Z30llama_set_embeddings_layer_inpP13llama_contextjb"]
    set_input.argtypes, set_input.restype = (ctypes.c_void_p, ctypes.c_uint32, ctypes.c_bool), None
    get_input = C._lib["_Z30llama_get_embeddings_layer_inpP13llama_contextj"]
    get_input.argtypes, get_input.restype = (ctypes.c_void_p, ctypes.c_uint32), ctypes.POINTER(ctypes.c_float)
    for layer in layers:
        set_input(context.handle, layer, True)
    context.decode(rows)
    at = [i for i, row in enumerate(rows) if row.output]
    width = context.model.n_embd
    return Truth(np.stack([context.logits(i) for i in at]), {
        layer: np.ctypeslib.as_array(get_input(context.handle, layer), (len(rows), width))[at].copy()
        for layer in layers})


def look(tap: Tap, vocabulary: int, layers: Sequence[int], inv_temp: NDArray[np.float64]) -> dict[str, NDArray[
        np.floating]]:
    """Everything a tap says of the last decode, at fixed candidates and with the rows in reverse, by name."""
    n = len(inv_temp)
    rows = np.arange(n)[::-1]
    ids = np.tile(np.arange(0, vocabulary, STEP, dtype=np.int32), (n, 1))
    final = tap.topk()
    seen = {"ids": final.ids, "logits": final.logits, "probs": final.probs(), "logsumexp": final.logsumexp,
            "entropy": final.entropy}
    for norm in (False, True):
        seen[f"posteriors {norm}"] = tap.project(rows, ids, layers, norm, inv_temp[rows])
        seen[f"entropies {norm}"], ranks = tap.measure(rows, layers, norm)
        seen[f"ranks {norm}"] = ranks.astype(np.float64)
    before = tap.rows_fetched
    seen["rows"] = np.stack([tap.row(i) for i in range(n)])
    assert tap.rows_fetched == before + n, "a full row crossed without being asked for"
    return seen


def check(seen: dict[str, NDArray[np.floating]], truth: Truth, head: OutputHead, inv_temp: NDArray[np.float64],
          kind: int) -> None:
    """What was seen is what is true; truth.hidden has the layers that were looked at."""
    z = truth.logits.astype(np.float64) * inv_temp[:, None]
    np.testing.assert_allclose(seen["rows"], truth.logits, atol=FINAL)
    best = -np.sort(-truth.logits, axis=1)[:, :seen["ids"].shape[1]]
    np.testing.assert_allclose(seen["logits"], best, atol=FINAL)
    at = seen["ids"].astype(np.intp)
    np.testing.assert_allclose(np.take_along_axis(truth.logits, at, 1), best, atol=FINAL)
    np.testing.assert_allclose(seen["probs"], np.take_along_axis(softmax(z, 1), at, 1), atol=FINAL)
    np.testing.assert_allclose(seen["logsumexp"], (z - log_softmax(z, 1))[:, 0], atol=FINAL)
    np.testing.assert_allclose(seen["entropy"], -(softmax(z, 1) * log_softmax(z, 1)).sum(1), atol=FINAL)
    rows = np.arange(len(inv_temp))[::-1]
    top1 = truth.logits.argmax(1)[rows, None]
    for j, hidden in enumerate(truth.hidden.values()):
        for norm in (False, True):
            y = head.logits(hidden[rows], norm)
            want = softmax(y * inv_temp[rows, None], 1)[:, ::STEP]
            np.testing.assert_allclose(seen[f"posteriors {norm}"][:, j], want, atol=PROBABILITY[kind])
            log_p = log_softmax(y, 1)
            np.testing.assert_allclose(seen[f"entropies {norm}"][:, j], -(np.exp(log_p) * log_p).sum(1),
                                       atol=ENTROPY[kind])
            above = (y > np.take_along_axis(y, top1, 1)).sum(1)
            assert np.abs(seen[f"ranks {norm}"][:, j] - above).max() <= RANK[kind]


def check_hidden(tap: NativeTap, truth: Truth) -> None:
    """The rows that the second graph reads."""
    for layer, hidden in truth.hidden.items():
        np.testing.assert_allclose(tap.hidden(np.arange(len(hidden)), layer), hidden, rtol=FINAL, atol=FINAL)
