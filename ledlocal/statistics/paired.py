"""Whether two methods differ on the same problems."""

from __future__ import annotations

from math import comb
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ledlocal.statistics.interval import Estimate

FLIPS = 100_000
EXACT = 16
"""Up to this many problems that differ, every combination of signs is counted."""
SIGNIFICANT = 0.05
FEW = 9
_SEED = 0
_CHUNK = 2**22
"""Signs drawn at a time."""

Verdict = Literal["better", "worse", "equivalent", "no difference shown"]
"""What `verdict` says of a comparison."""


def sign_flip(differences: ArrayLike) -> float:
    """p of the mean of one difference per problem (P,), two-sided: if nothing differs, either sign is as likely.

    Problems without a difference (0 or NaN) say nothing. Exact for few, else FLIPS random combinations of signs, the
    observed one counted among them (Phipson and Smyth 2010: p is never 0).
    """
    x = np.asarray(differences, np.float64)
    x = x[~np.isnan(x) & (x != 0)]
    if not len(x):
        return 1.0
    observed = abs(x.sum()) * (1 - 1e-12)
    if len(x) <= EXACT:
        signs = 1 - 2 * (np.arange(2 ** len(x))[:, None] >> np.arange(len(x)) & 1)
        return float((abs(signs @ x) >= observed).mean())
    random, reached, rows = np.random.default_rng(_SEED), 0, max(1, _CHUNK // len(x))
    for start in range(0, FLIPS, rows):
        signs = 1 - 2 * random.integers(0, 2, (min(rows, FLIPS - start), len(x)), np.int8)
        reached += int((abs(signs @ x) >= observed).sum())
    return (reached + 1) / (FLIPS + 1)


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """Exact p, two-sided, of two outcomes per problem (P,), true or false: only those that differ count."""
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    both = only_a + only_b
    return float(min(1.0, 2 * sum(comb(both, i) for i in range(min(only_a, only_b) + 1)) / 2**both))


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """p of several comparisons (m,), adjusted so that one false finding among all is as rare as for one (Holm 1979)."""
    raw = np.asarray(p, np.float64)
    order = np.argsort(raw, kind="stable")
    adjusted = np.minimum(1.0, np.maximum.accumulate(raw[order] * np.arange(len(raw), 0, -1)))
    out = np.empty_like(adjusted)
    out[order] = adjusted
    return out


def verdict(difference: Estimate, p: float, differing: int, margin: float = 0.02) -> Verdict:
    """In words. A shown difference comes first; equivalent: the whole interval lies within the margin.

    `differing`: problems with a difference. Resamples of a few of them say too little of the others: with 1 ... FEW
    nothing is called equivalent (of 200 problems that differ by 0 or 1, with a mean at the margin, 8 % would be).
    """
    if p < SIGNIFICANT and difference.value:
        return "better" if difference.value > 0 else "worse"
    if not 0 < differing <= FEW and -margin < difference.low and difference.high < margin:
        return "equivalent"
    return "no difference shown"
