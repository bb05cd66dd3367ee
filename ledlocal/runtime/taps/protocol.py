"""The one protocol behind which every tap lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ledlocal.methods.final import FinalLayer
from ledlocal.runtime.llama import Context, ContextParams

TOP = 80
"""Length of the final layer's list."""


class Tap(Protocol):
    """Layers of the model, for the rows of the last decode.

    A row is one output of the last `Context.decode`, in batch order; a decode with outputs fits one ubatch and all
    its tokens are outputs (the scheduler's rule). Layer numbers are 1-based: layer l is the residual stream after
    block l; the final layer L comes through `topk`.
    """

    name: str
    why: str
    """Why it reads no layers; empty if it does."""

    def configure(self, params: ContextParams) -> None:
        """Ask for what the context needs before it is made (the reference tap's eval callback)."""

    def attach(self, context: Context, layers: Sequence[int], top: int = TOP) -> None:
        """Once per context: the union of the layers any method may ask for, each in 1 ... L-1.

        Raises TapRefused with a sentence if the model's layers cannot be read.
        """

    def prepare(self, inv_temp: NDArray[np.float64]) -> None:
        """Before a decode with outputs: 1 / temperature of each row, (R,)."""

    def topk(self) -> FinalLayer:
        """The final layer's list at the prepared temperatures, R rows."""

    def project(self, rows: NDArray[np.intp], ids: NDArray[np.int32], layers: Sequence[int], norm: bool,
                inv_temp: NDArray[np.float64]) -> NDArray[np.float32]:
        """Full-vocabulary posteriors of `ids` (n, k) at some attached layers, for n rows: (n, len(layers), k)."""

    def measure(self, rows: NDArray[np.intp], layers: Sequence[int], norm: bool) -> tuple[
            NDArray[np.float64], NDArray[np.int64]]:
        """Entropy (nats, temperature 1) of each layer and rank there of the final layer's top-1: (n, len(layers)) each.

        Layers may be attached ones, or L: with `norm` that is the model's own output, sent through its head again.
        The rank is the number of tokens with a strictly larger logit; a soft cap can saturate into ties.
        """

    def row(self, i: int) -> NDArray[np.float32]:
        """The full row of raw logits of row i, (V,)."""

    @property
    def rows_fetched(self) -> int:
        """How often `row` brought a full row to the host."""

    def detach(self) -> None:
        """Let go of the context; called before it is freed."""
