"""A median, and how far it is to be trusted without assuming a distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median


@dataclass(frozen=True, slots=True)
class MedianEstimate:
    """A median of a sample, with bounds for that of what it was drawn from."""

    value: float
    low: float
    high: float
    coverage: float
    """Probability that bounds made like this hold it; at least 0.95 where 6 values or more allow it."""


def median_estimate(values: Sequence[float]) -> MedianEstimate:
    """Bounds are order statistics (Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2): the narrowest
    symmetric pair that holds the median with 95 %; of 5 values or fewer the smallest and the largest. Raises ValueError
    without values.
    """
    if not values:
        raise ValueError("no values")
    ordered, n = sorted(values), len(values)
    out = 0
    while 2 * (out + 1) < n and _coverage(n, out + 1) >= 0.95:
        out += 1
    return MedianEstimate(median(ordered), ordered[out], ordered[n - 1 - out], _coverage(n, out))


def _coverage(n: int, out: int) -> float:
    """That the median lies between the order statistics with `out` values outside at either end."""
    outside: int = 2 * sum(comb(n, i) for i in range(out + 1))
    return 1 - outside / (1 << n)
