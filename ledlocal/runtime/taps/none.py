"""No tap: the final layer only, from the logits that llama.cpp copies to the host. Plain sampling for every model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ledlocal.methods.final import FinalLayer, final_layer
from ledlocal.runtime.llama import Context, ContextParams
from ledlocal.runtime.taps.protocol import TOP
from ledlocal.values.errors import TapRefused


class NoTap:
    """The final layer's list computed with NumPy; see Tap for the calls."""

    name = "none"

    def __init__(self, why: str = "the tap is switched off") -> None:
        self.why = why
        self._rows_fetched = 0

    def configure(self, params: ContextParams) -> None:
        """Nothing to ask for."""

    def attach(self, context: Context, layers: Sequence[int], top: int = TOP) -> None:
        """Nothing is attached: the layers stay out of reach."""
        self._context, self._top = context, min(top, context.model.n_vocab)

    @property
    def rows_fetched(self) -> int:
        """Full rows handed out so far (llama.cpp copies every row anyway)."""
        return self._rows_fetched

    def prepare(self, inv_temp: NDArray[np.float64]) -> None:
        """1 / temperature of each row, (R,)."""
        self._inv_temp = inv_temp

    def topk(self) -> FinalLayer:
        """The final layer's list, R rows."""
        logits = np.stack([self._context.logits(i) for i in range(len(self._inv_temp))])
        return summarize(logits, self._inv_temp, self._top)

    def project(self, rows: NDArray[np.intp], ids: NDArray[np.int32], layers: Sequence[int], norm: bool,
                inv_temp: NDArray[np.float64]) -> NDArray[np.float32]:
        """Always refused."""
        raise TapRefused(f"no intermediate layers: {self.why}")

    def measure(self, rows: NDArray[np.intp], layers: Sequence[int], norm: bool) -> tuple[
            NDArray[np.float64], NDArray[np.int64]]:
        """Always refused."""
        raise TapRefused(f"no intermediate layers: {self.why}")

    def row(self, i: int) -> NDArray[np.float32]:
        """Raw logits of row i, (V,)."""
        self._rows_fetched += 1
        return self._context.logits(i)

    def detach(self) -> None:
        """Nothing to let go of."""


def summarize(logits: NDArray[np.float32], inv_temp: NDArray[np.float64], top: int) -> FinalLayer:
    """The list and the two full-vocabulary numbers from full rows of raw logits (R, V)."""
    vocabulary = logits.shape[1]
    ids = np.argpartition(-logits, min(top, vocabulary) - 1, axis=1)[:, :top].astype(np.int32)
    z = logits.astype(np.float64) * inv_temp[:, None]
    # NaN and infinities pass through on purpose: the engine checks these two numbers
    with np.errstate(invalid="ignore", over="ignore"):
        peak = z.max(1)
        weights = np.exp(z - peak[:, None])
        total = weights.sum(1)
        logsumexp = peak + np.log(total)
        entropy = logsumexp - (weights * z).sum(1) / total
    return final_layer(ids, np.take_along_axis(logits, ids, 1), inv_temp, logsumexp, np.maximum(entropy, 0),
                       top >= vocabulary)
