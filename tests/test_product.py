"""The output matrix cut into blocks gives the same bits as one product."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf.quants import quantize
from numpy.typing import NDArray

from ledlocal.runtime import ggml
from ledlocal.runtime.llama import start_backend
from ledlocal.runtime.taps import product

WIDTH = 64
CPU = ggml.device_by_type(ggml.CPU_DEVICE)


def matrix(kind: Kind, rows: int) -> int:
    """A leaf (rows, WIDTH) in the CPU's memory with random values."""
    start_backend()
    context = ggml.init(4096)
    leaf = ggml.new_tensor_2d(context, kind, WIDTH, rows)
    ggml.alloc_tensors(context, ggml.device_buffer_type(CPU))
    ggml.write(leaf, quantize(np.random.default_rng(rows).normal(size=(rows, WIDTH)).astype(np.float32), kind))
    return int(leaf)


def times(leaf: int, columns: NDArray[np.float32], cut: bool) -> NDArray[np.float32]:
    """The product (n, rows) with columns (n, WIDTH), cut or not, as a node that reads it sees it."""
    context = ggml.init(2**20)
    graph, hidden = ggml.new_graph(context, 512, False), ggml.new_tensor_2d(context, ggml.F32, WIDTH, len(columns))
    whole = ggml.mul_mat(context, leaf, hidden)
    logits = product.product(context, graph, leaf, hidden, ggml.tensor(whole)) if cut else whole
    out = ggml.concat(context, logits, logits, 0)
    ggml.set_output(out)
    ggml.build_forward_expand(graph, out)
    assert ggml.gallocr_alloc(ggml.gallocr_new(ggml.device_buffer_type(CPU)), graph)
    ggml.write(hidden, columns)
    assert ggml.graph_compute(ggml.device_init(CPU, None), graph) == 0
    return ggml.read(out, (len(columns), 2, ggml.tensor(leaf).ne[1]), np.float32)[:, 0]


@pytest.mark.parametrize("kind", [Kind.Q4_0, Kind.Q5_0, Kind.Q8_0])
@pytest.mark.parametrize("rows", [1, 15, 16, 17, 63, 257])
def test_the_same_bits(kind: Kind, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "BLOCK", 1000)  # of Q8_0: 14 rows, so 16; the last block is smaller
    leaf = matrix(kind, rows)
    assert product.waits(leaf)
    for n in (1, 2, 3, 4, 7, 8, 9):
        columns = np.random.default_rng(n).normal(size=(n, WIDTH)).astype(np.float32)
        np.testing.assert_array_equal(times(leaf, columns, True), times(leaf, columns, False))


def test_a_graph_has_room_for_the_largest_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product, "BLOCK", 1)
    context = ggml.init(2**21)
    graph = ggml.new_graph(context, product.NODES + 8, False)
    leaf, hidden = (ggml.new_tensor_2d(context, kind, 32, n) for kind, n in ((Kind.Q8_0, 10**6), (ggml.F32, 3)))
    product.product(context, graph, leaf, hidden, ggml.tensor(ggml.mul_mat(context, leaf, hidden)))
    ggml.free(context)


def test_only_what_is_read_by_those_kernels_is_cut() -> None:
    assert not product.waits(matrix(Kind.F16, 4))
    context = ggml.init(4096)
    assert not product.waits(ggml.new_tensor_2d(context, Kind.Q8_0, 32, 1))  # lies nowhere: computed
    ggml.free(context)
