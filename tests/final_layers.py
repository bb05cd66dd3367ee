"""What a tap would hand over, made from whole rows of logits, and a count of the rows fetched."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ledlocal.methods.final import FinalLayer


def final_of(logits: NDArray[np.floating], inv_temp: float = 1.0, top: int = 64) -> FinalLayer:
    """The list of length `top` and the full-vocabulary numbers of rows of logits (R, V)."""
    logits = np.atleast_2d(np.asarray(logits, np.float32))
    ids = np.stack([np.lexsort((np.arange(len(row)), -row))[:top] for row in logits]).astype(np.int32)
    z = logits.astype(np.float64) * inv_temp
    probs = np.exp(z - z.max(axis=1, keepdims=True))
    logsumexp = z.max(axis=1) + np.log(probs.sum(axis=1))
    probs /= probs.sum(axis=1, keepdims=True)
    entropy = logsumexp - (probs * z).sum(axis=1)
    return FinalLayer(ids, np.take_along_axis(logits, ids, 1), np.full(len(logits), inv_temp), logsumexp, entropy,
                      top >= logits.shape[1])


class Rows:
    """A `full_row` that counts."""

    def __init__(self, logits: NDArray[np.floating]) -> None:
        self._logits = np.atleast_2d(np.asarray(logits, np.float32))
        self.fetched: list[int] = []

    def __call__(self, i: int) -> NDArray[np.float32]:
        self.fetched.append(i)
        row: NDArray[np.float32] = self._logits[i]
        return row
