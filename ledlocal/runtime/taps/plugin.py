"""Layers from a stock llama.cpp, without a compiler: a backend sampler that adds nodes to the model's own graph.

`llama_set_sampler` and `backend_apply` (src/llama-graph.cpp, build_sampling) hand a plugin the finished graph. It
finds the residual streams by name, keeps the rows of the outputs, and computes the final layer's list there; full
logits stay on the device. Rows that explore are projected by a second small graph on the same device.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledlocal.methods.final import FinalLayer, final_layer
from ledlocal.runtime import ggml
from ledlocal.runtime.library import C
from ledlocal.runtime.llama import Context, ContextParams
from ledlocal.runtime.taps.head import Head, head_input, norm_input, selects
from ledlocal.runtime.taps.projection import Projection
from ledlocal.runtime.taps.protocol import TOP
from ledlocal.runtime.taps.scaling import Scaling
from ledlocal.values.errors import LedlocalError, TapRefused

NODES = 96
"""Budget of graph nodes, beside those per tapped layer."""


class PluginTap:
    """The tap for a stock library; see Tap for the calls."""

    name, why = "plugin", ""

    def __init__(self) -> None:
        ggml.check_layout()
        self._context: Context | None = None
        self._error: Exception | None = None
        self._rows_fetched = 0
        self._ubatches = 0
        self._rows = 0
        self._projection: Projection | None = None
        self._chains: list[Any] = []

    def configure(self, params: ContextParams) -> None:
        """Nothing to ask for."""

    @property
    def rows_fetched(self) -> int:
        """Full rows of logits brought to the host so far."""
        return self._rows_fetched

    def attach(self, context: Context, layers: Sequence[int], top: int = TOP) -> None:
        """Register with every sequence; whether the model can be tapped shows at the next decode (`topk` raises)."""
        self._context, self._layers = context, tuple(layers)
        self._vocabulary, self._last = context.model.n_vocab, context.model.n_layer
        self._top = min(top, self._vocabulary)
        self._make_interface()
        for sequence in range(context.n_seq_max):
            self._register(context, sequence)

    def _make_interface(self) -> None:
        interface = C.llama_sampler_i()
        interface.name = C.llama_sampler_i_name(lambda _sampler: b"ledlocal-tap")
        interface.apply = C.llama_sampler_i_apply(lambda _sampler, _data: None)
        interface.backend_init = C.llama_sampler_i_backend_init(self._backend_init)
        interface.backend_apply = C.llama_sampler_i_backend_apply(self._backend_apply)
        interface.backend_set_input = C.llama_sampler_i_backend_set_input(self._backend_set_input)
        self._interface = interface
        self._master: int | None = None

    def _register(self, context: Context, sequence: int) -> None:
        """Every sequence needs a sampler, or its logits are copied to the host; the first one's does the work."""
        sampler = C.llama_sampler_init(ctypes.byref(self._interface), None)
        if self._master is None:
            self._master = ctypes.cast(sampler, ctypes.c_void_p).value
        chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
        C.llama_sampler_chain_add(chain, sampler)
        self._chains.append(chain)
        taken = C.llama_set_sampler(context.handle, sequence, chain)
        if self._error is not None:
            raise self._error
        if not taken:
            raise TapRefused("llama.cpp takes no backend sampler for this model or split mode")

    def _is_master(self, sampler: Any) -> bool:
        return bool(ctypes.cast(sampler, ctypes.c_void_p).value == self._master)

    # an exception must not cross the C boundary: it is kept, and raised where Python called

    def _backend_init(self, sampler: Any, buffer_type: int, _outputs: int) -> bool:
        try:
            if self._is_master(sampler) and self._projection is None:
                assert self._context is not None
                # the CPU's buffer type names no device
                device = ggml.buft_device(buffer_type) or ggml.device_by_type(ggml.CPU_DEVICE)
                # first: where it finds no memory, there is no projection either, and nothing to take back
                self._scaling = Scaling(device, self._vocabulary, self._context.n_seq_max)
                self._projection = Projection(device, self._context)
        except Exception as error:
            self._error = error
        return self._error is None

    def _backend_set_input(self, _sampler: Any) -> None:
        self._ubatches += 1

    def _backend_apply(self, sampler: Any, graph_context: int, graph: int, data: Any) -> None:
        try:
            logits = data.contents.logits
            data.contents.logits = None
            if not ggml.tensor(logits).view_src:
                # the chain's probe graph, which has no model: it only counts nodes for the budget
                for _ in range((NODES + 4 * len(self._layers)) * self._is_master(sampler)):
                    ggml.new_tensor_1d(graph_context, ggml.F32, 1)
            elif self._is_master(sampler):
                # a view of the model's logits with one more row (build_sampling in src/llama-graph.cpp)
                self._build(graph_context, graph, ggml.tensor(ggml.tensor(logits).view_src).src[0])
        except Exception as error:
            self._error = error

    def _build(self, context: int, graph: int, logits: int) -> None:
        """Add the taps and the final layer's list to the model's graph."""
        self._error = None
        rows = int(ggml.tensor(logits).ne[1])
        self._rows = 0
        out_ids = ggml.graph_get_tensor(graph, b"out_ids")
        normed = ggml.graph_get_tensor(graph, b"result_norm") or head_input(logits)  # not every model names it
        start = norm_input(normed, out_ids)
        hidden = self._streams(graph, start, out_ids)
        if rows == 0 or any(ggml.tensor(one).ne[1] != rows for one in hidden):
            # a prompt without outputs, or llama.cpp measuring one: taps here would keep whole layers alive
            return
        stack = hidden[0]
        for one in hidden[1:]:
            stack = ggml.concat(context, stack, one, 1)
        probs = ggml.soft_max(context, self._scaling.apply(context, logits, rows))
        ids = ggml.top_k(context, logits, self._top)
        pack = self._gather(context, logits, ids, rows)
        pack = ggml.concat(context, pack, self._gather(context, probs, ids, rows), 0)
        # of the raw logits, not of the scaled ones: so softmax may overwrite those
        pack = ggml.concat(context, pack, self._scaling.dot(context, probs, logits, rows), 0)
        for out in (stack, ids, pack):
            ggml.set_output(out)
            ggml.build_forward_expand(graph, out)
        self._rows, self._logits, self._stack, self._ids, self._pack = rows, logits, stack, ids, pack
        assert self._projection is not None
        self._projection.heads = {norm: Head(logits, one, out_ids) for norm, one in ((False, normed), (True, start))}

    def _streams(self, graph: int, start: int, out_ids: int | None) -> list[int]:
        """Residual streams after every attached layer and the last: (E, tokens); the last ones may have rows of the
        outputs only. `start` is what the final norm reads.
        """
        assert self._context is not None
        streams = []
        for layer in (*self._layers, self._last):
            named = ggml.graph_get_tensor(graph, b"l_out-%d" % (layer - 1))
            pointer = named or (start if layer == self._last else None)
            if not pointer:
                raise TapRefused(f"its graph has no residual stream named l_out for layer {layer}")
            node = ggml.tensor(pointer)
            if node.ne[0] != self._context.model.n_embd or node.ne[2] != 1 or node.ne[3] != 1:
                raise TapRefused("it keeps several residual streams per layer")
            streams.append(int(pointer))
        if named and named != (ggml.tensor(start).src[0] if selects(start, out_ids) else start):
            raise TapRefused("it keeps several residual streams per layer")  # and mixes them for the final norm
        return streams

    def _gather(self, context: int, values: int, ids: int, rows: int) -> int:
        """Entries `ids` (top, rows) of values (V, rows): (top, rows)."""
        columns = ggml.reshape_3d(context, values, 1, self._vocabulary, rows)
        return int(ggml.reshape_2d(context, ggml.get_rows(context, columns, ids), self._top, rows))

    def prepare(self, inv_temp: NDArray[np.float64]) -> None:
        """Before a decode with outputs: 1 / temperature per row, (R,)."""
        self._inv_temp = inv_temp
        self._ubatches = 0
        self._scaling.write(inv_temp)

    def topk(self) -> FinalLayer:
        """The final layer's list, R rows."""
        self._check()
        rows, top = self._rows, self._top
        ids = ggml.read(self._ids, (rows, top), np.int32)
        pack = ggml.read(self._pack, (rows, 2 * top + 1), np.float32)
        best = pack[:, top:2 * top].argmax(1) + np.arange(0, pack.size, pack.shape[1])
        logsumexp = pack.take(best) * self._inv_temp - np.log(pack.take(best + top).astype(np.float64))
        entropy = np.maximum(logsumexp - self._inv_temp * pack[:, 2 * top], 0)
        return final_layer(ids, pack[:, :top], self._inv_temp, logsumexp, entropy, top == self._vocabulary)

    def _check(self) -> None:
        """Wait for the decode: on a GPU the projection has a stream of its own and would read what is not there yet."""
        assert self._context is not None
        self._context.synchronize()
        if self._error is not None:
            raise self._error
        # every active sequence's sampler is called once per ubatch, so one ubatch means as many calls as rows
        if self._ubatches != len(self._inv_temp) or self._rows != len(self._inv_temp):
            raise LedlocalError(
                f"the decode was split: {self._rows} rows in the last graph for {len(self._inv_temp)} outputs")

    def project(self, rows: NDArray[np.intp], ids: NDArray[np.int32], layers: Sequence[int], norm: bool,
                inv_temp: NDArray[np.float64]) -> NDArray[np.float32]:
        """Full-vocabulary posteriors of `ids` (n, k) at attached layers: (n, len(layers), k)."""
        self._check()
        assert self._projection is not None
        return self._projection.posteriors(self._stack, self._stacked(rows, layers), ids, norm, inv_temp)

    def measure(self, rows: NDArray[np.intp], layers: Sequence[int], norm: bool) -> tuple[
            NDArray[np.float64], NDArray[np.int64]]:
        """Entropy (nats, temperature 1) and rank of the final top-1 token: (n, len(layers)) each."""
        self._check()
        assert self._projection is not None
        top1 = self.topk().ids[rows, 0]
        return self._projection.lens(self._stack, self._stacked(rows, layers), top1, norm)

    def _stacked(self, rows: NDArray[np.intp], layers: Sequence[int]) -> NDArray[np.int32]:
        """Row numbers in the stack, which is layer-major: (n, len(layers))."""
        order = (*self._layers, self._last)
        offsets = np.array([order.index(layer) * self._rows for layer in layers])
        stacked: NDArray[np.int32] = (np.asarray(rows)[:, None] + offsets[None, :]).astype(np.int32)
        return stacked

    def row(self, i: int) -> NDArray[np.float32]:
        """Raw logits of row i, (V,)."""
        self._check()
        self._rows_fetched += 1
        return ggml.read(self._logits, (self._vocabulary,), np.float32, i * self._vocabulary * 4)

    def detach(self) -> None:
        """Take the samplers out of the context and free what the second graph holds."""
        if self._context is None:
            return
        for sequence, chain in enumerate(self._chains):
            C.llama_set_sampler(self._context.handle, sequence, None)
            C.llama_sampler_free(chain)
        if self._projection is not None:
            self._scaling.close()
            self._projection.close()
        self._context = None
