"""What one decoding step knows of the final layer: a sorted list per row, and two full-vocabulary numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FullRow = Callable[[int], NDArray[np.float32]]
"""Row number -> its full row of raw logits, shape (V,); slow, counted, for what the list cannot decide."""


@dataclass(frozen=True, slots=True)
class FinalLayer:
    """The final layer's most probable tokens for the R rows of a step.

    `ids` (R, top) int32 and raw `logits` (R, top) float32 are sorted by falling logit, ties by id. A tie with the last
    entry may continue outside the list unless it is `complete` (the whole vocabulary).
    `logsumexp` and `entropy` (R,) float64, in nats, are of softmax(logits * inv_temp) over the full vocabulary.
    """

    ids: NDArray[np.int32]
    logits: NDArray[np.float32]
    inv_temp: NDArray[np.float64]
    logsumexp: NDArray[np.float64]
    entropy: NDArray[np.float64]
    complete: bool

    def probs(self, k: int | None = None) -> NDArray[np.float64]:
        """Full-vocabulary probabilities of the list's first k tokens (None: all), shape (R, k)."""
        z = self.logits[:, :k].astype(np.float64) * self.inv_temp[:, None]
        return np.exp(z - self.logsumexp[:, None])

    def undecided(self, n: NDArray[np.intp]) -> NDArray[np.intp]:
        """Rows whose n (R,) most probable tokens the list cannot name: the last of them ties with the list's end."""
        most = int(n.max(initial=1))
        # where the longest part ends above the list's end the others do, too; and nearly always it does
        if self.complete or not (self.logits[:, most - 1] == self.logits[:, -1]).any():
            return np.empty(0, np.intp)
        return np.flatnonzero(self.logits[np.arange(len(n)), n - 1] == self.logits[:, -1])

    def whole(self, i: int, full_row: FullRow) -> FinalLayer:
        """Row i alone, with its whole vocabulary."""
        logits = full_row(i)
        order = np.argsort(-logits, kind="stable").astype(np.int32)
        return FinalLayer(order[None], logits[None, order], self.inv_temp[i:i + 1], self.logsumexp[i:i + 1],
                          self.entropy[i:i + 1], True)

    def take(self, rows: NDArray[np.intp]) -> FinalLayer:
        """The same, for some rows."""
        return FinalLayer(
            self.ids[rows], self.logits[rows], self.inv_temp[rows], self.logsumexp[rows], self.entropy[rows],
            self.complete,
        )


def final_layer(ids: NDArray[np.int32], logits: NDArray[np.float32], inv_temp: NDArray[np.float64],
                logsumexp: NDArray[np.float64], entropy: NDArray[np.float64], complete: bool) -> FinalLayer:
    """Sort an unordered list (R, top) as FinalLayer promises."""
    keys = -logits
    starts = np.arange(0, keys.size, keys.shape[1])[:, None]
    order = keys.argsort(axis=1)
    order += starts
    rising = keys.take(order)
    if (rising[:, 1:] == rising[:, :-1]).any():  # rare; a lexsort takes longer
        order = np.lexsort((ids, keys), axis=-1) + starts
        rising = keys.take(order)
    return FinalLayer(ids.take(order), -rising, inv_temp, logsumexp, entropy, complete)
