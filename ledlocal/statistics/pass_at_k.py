"""How likely one of k samples is right (pass@k), and the samples' majority (maj@k), from n samples of a problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from fractions import Fraction
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pass_at_k(correct: ArrayLike, graded: ArrayLike, k: int) -> NDArray[np.float64]:
    """Per problem (P,), the chance that k of its graded samples, drawn without replacement, hold a correct one.

    The unbiased estimator 1 - C(n-c, k) / C(n, k) of Chen et al. 2021 (arXiv 2107.03374, section 2.1); NaN where fewer
    than k samples were graded.
    """
    c, n = np.broadcast_arrays(np.asarray(correct, np.int64), np.asarray(graded, np.int64))
    if k < 1 or (c < 0).any() or (c > n).any():
        raise ValueError("needs k >= 1 and 0 <= correct <= graded")
    steps = np.arange(k)
    with np.errstate(divide="ignore", invalid="ignore"):
        wrong = np.clip((n - c)[..., None] - steps, 0, None) / (n[..., None] - steps)
        return np.where(n < k, np.nan, 1 - wrong.prod(-1))


def majority_at_k(answers: Sequence[Hashable], right: Hashable, k: int) -> float:
    """The chance that most of k samples, drawn without replacement, say `right`; a tie counts by its share.

    `answers`: one per sample; those that are None do not vote, and k of them are wrong together. Exact, by counting
    the draws; NaN with fewer than k samples.
    """
    if k < 1:
        raise ValueError("needs k >= 1")
    if len(answers) < k:
        return float("nan")
    votes = Counter(answer for answer in answers if answer is not None)
    ours = votes.pop(right, 0)
    silent = len(answers) - votes.total() - ours
    won = sum((comb(ours, most) * _beaten(list(votes.values()), silent, k - most, most)
               for most in range(1, min(k, ours) + 1)), Fraction(0))
    return float(won / comb(len(answers), k))


def _beaten(others: Sequence[int], silent: int, left: int, most: int) -> Fraction:
    """Ways to draw `left` samples with no other answer more than `most` times, weighed by our share of a tie.

    `others`: how many samples say each other answer.
    """
    silent += sum(count for count in others if count < most)
    ways = {(drawn, 0): comb(silent, drawn) for drawn in range(min(silent, left) + 1)}
    for count in (count for count in others if count >= most):
        more: Counter[tuple[int, int]] = Counter()
        for (drawn, ties), number in ways.items():
            for one in range(min(most, left - drawn) + 1):
                more[drawn + one, ties + (one == most)] += number * comb(count, one)
        ways = dict(more)
    return sum((Fraction(number, ties + 1) for (drawn, ties), number in ways.items() if drawn == left), Fraction(0))
