"""The second graph: rows that explore, sent through the cloned output head on the device that holds it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ledlocal.runtime import ggml
from ledlocal.runtime.llama import Context
from ledlocal.runtime.taps import product
from ledlocal.runtime.taps.head import Head
from ledlocal.runtime.taps.scaling import Scaling
from ledlocal.values.errors import LedlocalError, OutOfResources, TapRefused

NODES = 160 + product.NODES
MAX_ROWS = 256
"""Hidden rows projected at a time: bounds the buffer of full-vocabulary logits."""
KEPT = 16
"""Graphs that are kept: as many rows explore as in some step before, and Python takes 0.5 ms to build one."""


@dataclass(slots=True)
class _Graph:
    """A built graph with its inputs and outputs (ggml_tensor pointers)."""

    context: int
    graph: int
    hidden: int
    rows: int
    ids: int
    scaling: Scaling
    outputs: list[int]

    def close(self) -> None:
        self.scaling.close()
        ggml.free(self.context)


class Projection:
    """Computes full-vocabulary posteriors and lens measures of hidden rows that lie in the model's own buffers."""

    def __init__(self, device: int, context: Context) -> None:
        self.device = device
        self.heads: dict[bool, Head] = {}
        self._vocabulary = context.model.n_vocab
        self._backend = ggml.device_init(device, None)
        self._allocator = ggml.gallocr_new(ggml.device_buffer_type(device))
        self._graphs: dict[tuple[object, ...], _Graph] = {}
        """The least recently used one first; all in the allocator's one buffer, since one is computed at a time."""
        set_threads = ggml.registry_function(ggml.device_registry(device), b"ggml_backend_set_n_threads")
        if set_threads:
            prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)
            prototype(set_threads)(self._backend, context.n_threads)

    def posteriors(self, stack: int, rows: NDArray[np.int32], ids: NDArray[np.int32], norm: bool,
                   inv_temp: NDArray[np.float64]) -> NDArray[np.float32]:
        """Probabilities of ids (n, k) at stacked hidden rows (n, layers): (n, layers, k)."""
        n, layers = rows.shape
        k = ids.shape[1]
        flat_ids = np.repeat(ids, layers, 0)
        flat_temp = np.repeat(inv_temp, layers)
        out = [self._run(stack, part, flat_ids[at], flat_temp[at], norm, self._build_posteriors)[0]
               for part, at in _parts(rows.reshape(-1))]
        return np.concatenate(out).reshape(n, layers, k)

    def lens(self, stack: int, rows: NDArray[np.int32], top1: NDArray[np.int32], norm: bool) -> tuple[
            NDArray[np.float64], NDArray[np.int64]]:
        """Entropy (nats, temperature 1) and rank (0-based) of token top1 (n,) at hidden rows (n, layers)."""
        n, layers = rows.shape
        flat = np.repeat(top1, layers)[:, None].astype(np.int32)
        entropies, ranks = [], []
        for part, at in _parts(rows.reshape(-1)):
            pack, = self._run(stack, part, flat[at], np.ones(len(part)), norm, self._build_lens)
            _own, mean, rank, best, probability = pack.astype(np.float64).T
            entropies.append(np.maximum(best - np.log(probability) - mean, 0))
            ranks.append(rank.astype(np.int64))
        return np.concatenate(entropies).reshape(n, layers), np.concatenate(ranks).reshape(n, layers)

    def _run(self, stack: int, rows: NDArray[np.int32], ids: NDArray[np.int32], inv_temp: NDArray[np.float64],
             norm: bool, build: Callable[[_Graph, int, int], list[tuple[int, int]]]) -> list[NDArray[np.float32]]:
        source = ggml.tensor(stack)
        key = (len(rows), ids.shape[1], norm, build.__name__, tuple(source.ne), ggml.buffer_type(source.buffer),
               self.heads[norm].signature)
        graph = self._graphs.pop(key, None) or self._built(source, len(rows), ids.shape[1], norm, build)
        self._graphs[key] = graph
        # the leaf looks at the model's buffer itself, wherever the last graph put the stack: no copy
        alias = ggml.tensor(graph.hidden)
        alias.buffer, alias.data = source.buffer, source.data
        ggml.write(graph.rows, rows)
        ggml.write(graph.ids, ids.astype(np.int32))
        graph.scaling.write(inv_temp)
        if ggml.graph_compute(self._backend, graph.graph) != 0:
            raise LedlocalError("the projection graph could not be computed")
        return [ggml.read(out, (len(rows), ggml.tensor(out).ne[0]), np.float32) for out in graph.outputs]

    def _built(self, source: ggml.Tensor, n: int, k: int, norm: bool,
               build: Callable[[_Graph, int, int], list[tuple[int, int]]]) -> _Graph:
        if not ggml.device_supports(self.device, ggml.buffer_type(source.buffer)):
            raise TapRefused("its last layers and its output head lie on different devices")
        scaling = Scaling(self.device, self._vocabulary, n)  # first: where it finds no memory, nothing else is open
        context = ggml.init(NODES * 512 + 65536)
        hidden = ggml.new_tensor_2d(context, ggml.F32, source.ne[0], source.ne[1])
        leaf = ggml.tensor(hidden)
        leaf.buffer, leaf.data = source.buffer, source.data
        graph = _Graph(context, ggml.new_graph(context, NODES, False), hidden,
                       ggml.new_tensor_1d(context, ggml.I32, n), ggml.new_tensor_2d(context, ggml.I32, k, n),
                       scaling, [])
        size = ggml.gallocr_size(self._allocator, 0)
        try:
            self._fill(graph, norm, build, n)
        except BaseException:
            graph.close()
            self._drop()  # the allocator may have freed the buffer
            raise
        if ggml.gallocr_size(self._allocator, 0) != size:
            self._drop()  # the buffer was too small, and theirs is gone
        elif len(self._graphs) >= KEPT:
            self._graphs.pop(next(iter(self._graphs))).close()
        return graph

    def _fill(self, graph: _Graph, norm: bool, build: Callable[[_Graph, int, int], list[tuple[int, int]]],
              n: int) -> None:
        for leaf_input in (graph.rows, graph.ids):
            ggml.set_input(leaf_input)
        rows = ggml.get_rows(graph.context, graph.hidden, graph.rows)
        for out, width in build(graph, self.heads[norm].clone(graph.context, graph.graph, rows, n), n):
            out = ggml.reshape_2d(graph.context, out, width, n)
            ggml.set_output(out)
            ggml.build_forward_expand(graph.graph, out)
            graph.outputs.append(out)
        if not ggml.gallocr_alloc(self._allocator, graph.graph):
            raise OutOfResources(f"no memory to project {n} rows over {self._vocabulary} tokens")

    def _build_posteriors(self, graph: _Graph, logits: int, n: int) -> list[tuple[int, int]]:
        k = int(ggml.tensor(graph.ids).ne[0])
        scaled = graph.scaling.apply(graph.context, logits, n, in_place=True)
        probs = ggml.reshape_3d(graph.context, ggml.soft_max_inplace(graph.context, scaled), 1, self._vocabulary, n)
        return [(ggml.get_rows(graph.context, probs, graph.ids), k)]

    def _build_lens(self, graph: _Graph, logits: int, n: int) -> list[tuple[int, int]]:
        scaled = graph.scaling.apply(graph.context, logits, n)
        probs = ggml.soft_max(graph.context, scaled)

        def gather(values: int, at: int) -> int:
            columns = ggml.reshape_3d(graph.context, values, 1, self._vocabulary, n)
            return int(ggml.reshape_2d(graph.context, ggml.get_rows(graph.context, columns, at), 1, n))

        own, best = gather(scaled, graph.ids), ggml.top_k(graph.context, scaled, 1)
        above = ggml.sum_rows(graph.context, ggml.step(graph.context, ggml.sub(graph.context, scaled, own)))
        pack = own
        for value in (graph.scaling.dot(graph.context, probs, scaled, n), above,
                      gather(scaled, best), gather(probs, best)):
            pack = ggml.concat(graph.context, pack, value, 0)
        return [(pack, 5)]

    def _drop(self) -> None:
        for graph in self._graphs.values():
            graph.close()
        self._graphs.clear()

    def close(self) -> None:
        """Free the graph, its buffers and the backend."""
        self._drop()
        ggml.gallocr_free(self._allocator)
        ggml.backend_free(self._backend)


def _parts(rows: NDArray[np.int32]) -> list[tuple[NDArray[np.int32], slice]]:
    """Cut flat rows into parts of at most MAX_ROWS."""
    slices = [slice(i, i + MAX_ROWS) for i in range(0, len(rows), MAX_ROWS)]
    return [(rows[at], at) for at in slices]
