"""Latent Exploration Decoding, arXiv 2602.01698: pure functions on the rows of one step.

B or R rows; k candidates, the final layer's most probable tokens; d layers, the final one first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ledlocal.methods.draws import draw
from ledlocal.methods.final import FinalLayer, FullRow
from ledlocal.values.params import Led

FLOOR = 1e-6
"""Smallest probability a layer gives a candidate (the authors' code)."""
_TIE = 1e-12
"""Entropies this close, in nats, are equal: identical layers differ by rounding only."""


@dataclass(frozen=True, slots=True)
class Exploration:
    """What to draw from when exploring."""

    distribution: NDArray[np.float64]
    """(B, k), each row sums to 1."""
    depth: NDArray[np.intp]
    """(B,) index of the chosen mixture: 0 is the final layer alone."""
    entropy: NDArray[np.float64]
    """(B, d) of every mixture over the k candidates, in nats."""


def explore(candidate_probs: NDArray[np.floating]) -> Exploration:
    """The mixture of the last layers with the largest entropy over the candidates (section 4 of the paper).

    `candidate_probs` (B, d, k): full-vocabulary probabilities of the candidates, [:, 0] at the final layer.
    """
    q = np.maximum(np.asarray(candidate_probs, np.float64), FLOOR)
    mixtures = np.cumsum(q, axis=1)
    mixtures /= mixtures.sum(axis=2, keepdims=True)
    entropy = -(mixtures * np.log(mixtures)).sum(axis=2)
    largest = entropy.max(axis=1, keepdims=True)
    if not np.isfinite(largest).all():
        raise ValueError("layer posteriors must be finite numbers")
    depth = (entropy >= largest - _TIE).argmax(axis=1)  # the first of equals
    return Exploration(mixtures[np.arange(len(depth)), depth], depth, entropy)


def mixture(posteriors: NDArray[np.floating], depth: int) -> NDArray[np.float64]:
    """(k,) the mean of the layers down to `depth` over the candidates: what `explore` draws from where it chose that.

    `posteriors` (d, k): of one row, the final layer first.
    """
    sums = np.maximum(np.asarray(posteriors[:depth + 1], np.float64), FLOOR).sum(axis=0)
    distribution: NDArray[np.float64] = sums / sums.sum()
    return distribution


def explores(p_top1: NDArray[np.float64], u0: NDArray[np.float64], exploit: bool = True) -> NDArray[np.bool_]:
    """The coin: exploit with probability `p_top1` (R,), otherwise explore; always explore if not `exploit`. (R,)."""
    return u0 >= p_top1 if exploit else np.ones(len(u0), bool)


def pick(weights: NDArray[np.float64], u1: NDArray[np.float64], greedy: bool) -> NDArray[np.intp]:
    """Index (R,) of the candidate that u1 (R,) draws by `weights` (R, k); of the first heaviest one if `greedy`."""
    return weights.argmax(axis=1) if greedy else draw(weights, u1)


def law(posteriors: NDArray[np.float64], exploit: bool = True) -> NDArray[np.float64]:
    """Probability (B, k) of each candidate under the whole step, coin included, at a temperature above 0.

    p1 * q_topk + (1 - p1) * q_led: p1 is the final layer's largest probability, `posteriors` as `explore` takes them.
    """
    final = np.asarray(posteriors[:, 0], np.float64)
    p1 = final.max(axis=1, keepdims=True) if exploit else np.zeros((len(final), 1))
    q_topk: NDArray[np.float64] = final / final.sum(axis=1, keepdims=True)
    return p1 * q_topk + (1 - p1) * explore(posteriors).distribution


def candidates(final: FinalLayer, k: int, full_row: FullRow) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The k most probable tokens (ties: smallest id) and their full-vocabulary probabilities, (R, k) each.

    All tokens if the vocabulary is smaller than k. Fetches the full row only where the list leaves a tie open.
    """
    n = min(k, final.ids.shape[1])
    ids, probs = final.ids[:, :n], final.probs(n)
    undecided = final.undecided(np.full(len(ids), n))
    if not len(undecided):
        return ids, probs
    whole = [final.whole(int(i), full_row) for i in undecided]
    if len(whole) == len(ids):
        return np.concatenate([w.ids[:, :k] for w in whole]), np.concatenate([w.probs(k) for w in whole])
    ids = ids.copy()
    for i, w in zip(undecided, whole, strict=True):
        ids[i], probs[i] = w.ids[0, :k], w.probs(k)[0]
    return ids, probs


def layers_of(led: Led, n_layer: int) -> tuple[int, ...]:
    """Intermediate layers (1-based, falling) of a model with `n_layer` layers; none below layer 1.

    `reference`: L-2 ... L-d, as the authors' code reads the inputs of layers; `paper`: L-1 ... L-d+1.
    """
    first = n_layer - (2 if led.layers == "reference" else 1)
    return tuple(range(first, max(first - led.d + 1, 0), -1))
