"""The output matrix times a few hidden states, without waiting for memory.

llamafile's kernels for quantized weights (ggml-cpu/llamafile/sgemm.cpp, tinyBLAS_Q0) read several rows of a matrix at a
time, which prefetching does not follow; the kernel for one column reads one row after the other. So the matrix is cut
into blocks, and each is multiplied with one column first: for nothing but that the others find it in the cache.
"""

from __future__ import annotations

from ledlocal.runtime import ggml

BLOCK = 2**21
"""Bytes of the matrix at a time: fits into the cache that two cores share, or own together."""
MOST_BLOCKS = 512
NODES = 3 * MOST_BLOCKS + 1
"""In a graph, at most: the views of the matrix and of the one column count."""
_TILE = 16
"""Rows that no kernel parts."""
_Q4_0, _Q5_0, _Q8_0, _IQ4_NL = 2, 6, 8, 20


def waits(matrix: int) -> bool:
    """Whether products with this matrix wait for memory: those kernels take it as it lies in the CPU's memory."""
    weights = ggml.tensor(matrix)
    return (weights.type in (_Q4_0, _Q5_0, _Q8_0, _IQ4_NL) and bool(weights.buffer)
            and bool(ggml.buft_is_host(ggml.buffer_type(weights.buffer))))


def product(context: int, graph: int, matrix: int, columns: int, node: ggml.Tensor) -> int:
    """The nodes in `graph` that compute matrix (V, E) times columns (E, n), (V, n), as `node` does with others."""
    weights, hidden = ggml.tensor(matrix), ggml.tensor(columns)
    (width, rows), n = weights.ne[:2], hidden.ne[1]
    out = ggml.new_tensor_2d(context, node.type, rows, n)
    one = ggml.view_2d(context, columns, width, 1, hidden.nb[1], 0)
    height = _TILE * -(-max(BLOCK // weights.nb[1], rows // MOST_BLOCKS + 1) // _TILE)
    for start in range(0, rows, height):
        here = min(height, rows - start)
        block = ggml.view_2d(context, matrix, width, here, weights.nb[1], start * weights.nb[1])
        ggml.build_forward_expand(graph, ggml.mul_mat(context, block, one))
        part = ggml.view_2d(context, out, here, n, ggml.tensor(out).nb[1], start * ggml.tensor(out).nb[0])
        ggml.imitate(part, node, (block, columns))
        ggml.build_forward_expand(graph, part)
    return int(out)
