"""The reference tap: hidden rows on the host, everything else in NumPy. Slow, simple, what other taps are tested on.

Hidden rows are copied out while llama.cpp computes: its evaluation callback is asked about every node of the graph, and
wants `l_out-<block>`, the residual stream after a block (llama_context_params.cb_eval, ggml_backend_sched).
The final layer is llama.cpp's own row of logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ledlocal.methods.final import FinalLayer
from ledlocal.runtime import ggml
from ledlocal.runtime.library import C
from ledlocal.runtime.llama import Context, ContextParams
from ledlocal.runtime.taps.output_head import OutputHead
from ledlocal.runtime.taps.protocol import TOP
from ledlocal.values.errors import LedlocalError


def log_sum_exp(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the last axis; NaN where a row holds NaN or +infinity, so that the caller can tell."""
    top = z.max(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        total: NDArray[np.float64] = top[..., 0] + np.log(np.exp(z - top).sum(-1))
    return total


def entropy(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of softmax(z) over the last axis, in nats; a token without probability adds nothing."""
    log_p = z - log_sum_exp(z)[..., None]
    p = np.exp(log_p)
    with np.errstate(invalid="ignore"):
        total: NDArray[np.float64] = -np.where(p == 0, 0.0, p * log_p).sum(-1)
    return total


class ReferenceTap:
    """Implements runtime.taps.protocol.Tap.

    Accepts layer L too, whose projection then reproduces llama.cpp's own logits (how closely: see OutputHead), which is
    the tests' proof of the output head.
    """

    name, why = "reference", ""

    def __init__(self, path: Path) -> None:
        """Read the output head of a GGUF file. Raises TapRefused if it or ggml's structs are not known."""
        ggml.check_layout()
        self._head = OutputHead(path)
        self._callback = C.ggml_backend_sched_eval_callback(self._evaluate)
        self._capturing = False
        self._wanted: dict[bytes, int] = {}
        self._needed: set[int] = set()
        self._captured: dict[int, NDArray[np.float32]] = {}
        self._failure: Exception | None = None
        self._inv_temp: NDArray[np.float64] = np.empty(0)
        self._logits: NDArray[np.float32] | None = None
        self._context: Context | None = None
        self._top = TOP
        self._fetched = 0

    def configure(self, params: ContextParams) -> None:
        """Set the evaluation callback; this object must outlive the context."""
        params.cb_eval = self._callback

    def attach(self, context: Context, layers: Sequence[int], top: int = TOP) -> None:
        """Remember what to capture."""
        if not all(1 <= layer <= context.model.n_layer for layer in layers):
            raise ValueError(f"layers are numbered 1 to {context.model.n_layer}")
        self._context = context
        self._top = min(top, context.model.n_vocab)
        # the last layer comes along for `measure`, as in the other taps; some graphs do not name it
        self._wanted = {f"l_out-{layer - 1}".encode(): layer for layer in (*layers, context.model.n_layer)}
        self._needed = set(layers)

    def prepare(self, inv_temp: NDArray[np.float64]) -> None:
        """The next decode has len(inv_temp) tokens, all of them outputs: capture it."""
        self._inv_temp = np.asarray(inv_temp, np.float64)
        self._captured, self._failure = {}, None
        self._logits = None
        self._capturing = True

    def _evaluate(self, pointer: int, ask: bool, _user: object) -> bool:
        """llama.cpp's question about one node (`ask`), and its report that the node is computed."""
        if ask:
            return self._capturing and ggml.tensor(pointer).name in self._wanted
        try:
            self._capture(pointer)
        except Exception as error:  # must not cross the C frames above; `_finish` raises it
            self._failure = self._failure or error
        return True  # False would end the graph here

    def _capture(self, pointer: int) -> None:
        tensor = ggml.tensor(pointer)
        layer, rows, width = self._wanted[tensor.name], len(self._inv_temp), self._attached.model.n_embd
        if layer in self._captured:
            raise LedlocalError(f"layer {layer} was computed twice: its rows came in several ubatches or decodes")
        if tensor.type != ggml.F32 or list(tensor.ne) != [width, rows, 1, 1] or tensor.nb[1] != 4 * width:
            raise LedlocalError(f"layer {layer} has shape {list(tensor.ne)}, not {rows} rows of {width} numbers: all "
                                "tokens of a decode must be outputs, in one ubatch")
        self._captured[layer] = ggml.read(pointer, (rows, width), np.float32)

    @property
    def _attached(self) -> Context:
        if self._context is None:
            raise LedlocalError("the reference tap is not attached to a context")
        return self._context

    def _finish(self) -> NDArray[np.float32]:
        """Raw logits (R, V) of the last decode, with every wanted layer captured."""
        if self._capturing:
            self._capturing = False
            if self._failure is not None:
                raise self._failure
            if missing := sorted(self._needed - set(self._captured)):
                raise LedlocalError(f"llama.cpp's graph shows no output of layer {missing[0]}")
            self._logits = np.stack([self._attached.logits(i) for i in range(len(self._inv_temp))])
        if self._logits is None:
            raise LedlocalError("the reference tap has captured no decode")
        return self._logits

    def topk(self) -> FinalLayer:
        """The final layer's list from the full rows; `complete` if it holds the whole vocabulary."""
        logits = self._finish()
        ids = np.argsort(-logits, axis=1, kind="stable")[:, :self._top]
        z = logits.astype(np.float64) * self._inv_temp[:, None]
        return FinalLayer(ids.astype(np.int32), np.take_along_axis(logits, ids, 1), self._inv_temp, log_sum_exp(z),
                          entropy(z), self._top == logits.shape[1])

    def hidden(self, rows: NDArray[np.intp], layer: int) -> NDArray[np.float32]:
        """The residual stream after block `layer` for n rows of the last decode, (n, E)."""
        self._finish()
        if layer not in self._captured:
            raise LedlocalError(f"llama.cpp's graph shows no output of layer {layer}")
        return self._captured[layer][rows]

    def layer_logits(self, rows: NDArray[np.intp], layer: int, norm: bool) -> NDArray[np.float64]:
        """Logits (n, V) of an attached layer through the output head, with or without the final norm."""
        return self._head.logits(self.hidden(rows, layer), norm)

    def project(self, rows: NDArray[np.intp], ids: NDArray[np.int32], layers: Sequence[int], norm: bool,
                inv_temp: NDArray[np.float64]) -> NDArray[np.float32]:
        """Full-vocabulary posteriors of `ids` (n, k) at some attached layers, for n rows: (n, len(layers), k)."""
        out = np.empty((len(rows), len(layers), ids.shape[1]), np.float32)
        for j, layer in enumerate(layers):
            z = self.layer_logits(rows, layer, norm) * inv_temp[:, None]
            out[:, j] = np.exp(np.take_along_axis(z, ids.astype(np.intp), 1) - log_sum_exp(z)[:, None])
        return out

    def measure(self, rows: NDArray[np.intp], layers: Sequence[int], norm: bool) -> tuple[
            NDArray[np.float64], NDArray[np.int64]]:
        """Entropy (nats, temperature 1) and rank (tokens strictly above) of the final top-1: (n, len(layers)) each."""
        best = self._finish()[rows].argmax(1)
        entropies = np.empty((len(rows), len(layers)))
        ranks = np.empty((len(rows), len(layers)), np.int64)
        for j, layer in enumerate(layers):
            z = self.layer_logits(rows, layer, norm)
            mine = np.take_along_axis(z, best[:, None], 1)
            entropies[:, j] = entropy(z)
            ranks[:, j] = (z > mine).sum(1)
        return entropies, ranks

    def row(self, i: int) -> NDArray[np.float32]:
        """The full row of raw logits of row i, (V,)."""
        self._fetched += 1
        logits: NDArray[np.float32] = self._finish()[i].copy()
        return logits

    @property
    def rows_fetched(self) -> int:
        """How often `row` was asked."""
        return self._fetched

    def detach(self) -> None:
        """Forget the context and stop capturing; the callback stays with the context, harmless."""
        self._context = None
        self._wanted, self._captured, self._logits, self._capturing = {}, {}, None, False
