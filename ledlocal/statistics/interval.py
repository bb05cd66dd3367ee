"""A mean over problems and how far it is to be trusted: bootstrap over problems."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
TAIL = 0.025
"""Beyond each bound."""
_CHUNK = 2**22
"""Numbers drawn at a time."""
_SEED = 0
"""The same problems give the same interval on every machine."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 95 % interval; NaN where there is nothing to average."""

    value: float
    low: float
    high: float


def estimate(values: ArrayLike, low: float = 0.0, high: float = 1.0) -> Estimate:
    """The mean of one value per problem (P,), each between `low` and `high`; NaN: this problem has none.

    Bootstrap over problems: percentiles, further out the fewer problems there are (Hesterberg 2015, "What Teachers
    Should Know About the Bootstrap", expanded percentile interval). Values that are all the same say nothing
    about their spread: then up to q = 1 - 0.025^(1/P) of all problems may be otherwise without one being seen in 2.5 %
    of all evaluations, and the bounds are the means with that share at either end.
    """
    x = np.asarray(values, np.float64)
    x = x[~np.isnan(x)]
    if not len(x):
        return Estimate(*[float("nan")] * 3)
    mean = float(x.mean())
    if np.ptp(x) <= 1e-12 * (high - low):
        unseen = 1 - TAIL ** (1 / len(x))
        return Estimate(mean, mean - unseen * (mean - low), mean + unseen * (high - mean))
    tail = _tail(len(x))
    bounds = np.quantile(_resampled(x), (tail, 1 - tail))
    return Estimate(mean, float(min(bounds[0], mean)), float(max(bounds[1], mean)))


def _tail(problems: int) -> float:
    """Share of resamples beyond each bound: what Student's quantile is on the normal scale of a bootstrap."""
    z, free = NormalDist().inv_cdf(1 - TAIL), problems - 1
    # Student's quantile from the normal one: Abramowitz and Stegun 26.7.5
    student = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return NormalDist().cdf(-sqrt(problems / free) * student)


def _resampled(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of resamples (RESAMPLES,) of (P,) values: problems with the same value are drawn together."""
    values, counts = np.unique(x, return_counts=True)
    if RESAMPLES * len(values) <= _CHUNK:
        return _drawn(tuple(counts.tolist())) @ values / len(x)
    random, rows = np.random.default_rng(_SEED), _CHUNK // len(values)
    return np.concatenate([random.multinomial(len(x), counts / len(x), min(rows, RESAMPLES - start)) @ values
                           for start in range(0, RESAMPLES, rows)]) / len(x)


@lru_cache(maxsize=4)
def _drawn(counts: tuple[int, ...]) -> NDArray[np.int64]:
    """How often each value is drawn in each resample (RESAMPLES, V), from values that so many problems have (V,)."""
    problems = sum(counts)
    return np.random.default_rng(_SEED).multinomial(problems, np.array(counts) / problems, RESAMPLES)


def slopes(values: ArrayLike, at: ArrayLike) -> NDArray[np.float64]:
    """Per problem (P,), the least-squares slope of its values (P, T) over `at` (T,); their mean is the means' slope.

    Over temperatures it is the paper's alpha (arXiv 2602.01698).
    """
    x = np.asarray(at, np.float64)
    x = x - x.mean()
    if not x.any():
        raise ValueError("a slope needs two different places")
    return np.asarray(np.asarray(values, np.float64) @ x / (x @ x))


def pooled(sums: ArrayLike, counts: ArrayLike, low: float = 0.0, high: float = 1.0) -> Estimate:
    """The mean over all members of groups, from each group's sum and number of members (P,); values as in `estimate`.

    Members of one group resemble each other (the tokens of one problem's replies), so the interval is `estimate`'s over
    groups: of the ratio of sums, linearised (Cochran 1977, Sampling Techniques, chapter 6). Of groups of one size it is
    that of their means. An empty group has no say.
    """
    total, n = np.asarray(sums, np.float64), np.asarray(counts, np.float64)
    total, n = total[n > 0], n[n > 0]
    if not len(n):
        return Estimate(*[float("nan")] * 3)
    ratio = total.sum() / n.sum()
    found = estimate(ratio + (total - ratio * n) / n.mean(), low, high)
    return Estimate(float(ratio), max(low, found.low), min(high, found.high))
