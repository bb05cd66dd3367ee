"""A temperature per row as an input of the graph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ledlocal.runtime import ggml
from ledlocal.values.errors import OutOfResources

_WIDEST = 4096


def _chunk(vocabulary: int) -> int:
    """Largest divisor of the vocabulary size up to 4096."""
    return max(n for n in range(1, min(vocabulary, _WIDEST) + 1) if vocabulary % n == 0)


class Scaling:
    """Multiplies each row of logits (V, R) by its own 1 / temperature.

    The factor is stored `chunk` times per row and the row is cut into chunks: on the CPU ggml broadcasts over rows
    with vector instructions and several threads, but over columns one element at a time.
    """

    def __init__(self, device: int, vocabulary: int, rows: int) -> None:
        self.vocabulary, self.chunk = vocabulary, _chunk(vocabulary)
        self._context = ggml.init(4096)
        self._factors = ggml.new_tensor_2d(self._context, ggml.F32, self.chunk, rows)
        self._buffer = ggml.alloc_tensors(self._context, ggml.device_buffer_type(device))
        if not self._buffer:
            ggml.free(self._context)
            raise OutOfResources(f"no memory for the temperatures of {rows} rows")
        self._written = b""
        self.write(np.ones(rows))

    def write(self, inv_temp: NDArray[np.float64]) -> None:
        """Set the first R rows' factors, unless they are that already: few steps change them."""
        factors = inv_temp.tobytes()
        if self._written.startswith(factors):
            return
        self._written = factors
        ggml.write(self._factors, np.repeat(inv_temp.astype(np.float32)[:, None], self.chunk, 1))

    def apply(self, context: int, logits: int, rows: int, in_place: bool = False) -> int:
        """Nodes for logits * inv_temp, (V, rows); `in_place` overwrites the logits."""
        factors = ggml.view_2d(context, self._factors, self.chunk, rows, self.chunk * 4, 0)
        factors = ggml.reshape_3d(context, factors, self.chunk, 1, rows)
        multiply = ggml.mul_inplace if in_place else ggml.mul
        product = multiply(context, self._cut(context, logits, rows), factors)
        return int(ggml.reshape_2d(context, product, self.vocabulary, rows))

    def dot(self, context: int, a: int, b: int, rows: int) -> int:
        """Nodes for the sum over the vocabulary of a * b, (1, rows); as a product of matrices of one row each.

        ggml_sum_rows takes 40 times as long on the CPU.
        """
        left, right = (ggml.reshape_3d(context, values, self.vocabulary, 1, rows) for values in (a, b))
        return int(ggml.reshape_2d(context, ggml.mul_mat(context, left, right), 1, rows))

    def _cut(self, context: int, values: int, rows: int) -> int:
        return int(ggml.reshape_3d(context, values, self.chunk, self.vocabulary // self.chunk, rows))

    def close(self) -> None:
        """Free the factors."""
        ggml.buffer_free(self._buffer)
        ggml.free(self._context)
