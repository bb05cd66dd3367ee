"""An evaluation's numbers against independent oracles: enumeration, scipy, simulation."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats

from ledlocal.statistics.interval import Estimate, estimate, slopes
from ledlocal.statistics.paired import holm, mcnemar, sign_flip, verdict
from ledlocal.statistics.pass_at_k import majority_at_k, pass_at_k


@given(st.integers(1, 40), st.data())
def test_pass_at_k_is_the_chance_of_a_correct_one(n: int, data: st.DataObject) -> None:
    correct, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    assert_allclose(pass_at_k([correct], [n], k), [1 - stats.hypergeom(n, correct, k).pmf(0)], atol=1e-12)


def test_pass_at_k_needs_k_samples_that_were_graded() -> None:
    assert_allclose(pass_at_k([0, 1, 3, 0], [3, 3, 3, 2], 3), [0, 1, 1, np.nan])
    assert_allclose(pass_at_k([1, 2], [4, 4], 1), [0.25, 0.5])
    for correct, graded, k in ((2, 1, 1), (-1, 1, 1), (1, 1, 0)):
        with pytest.raises(ValueError):
            pass_at_k([correct], [graded], k)


@given(st.lists(st.sampled_from(["right", "a", "b", "c", None]), min_size=1, max_size=9), st.data())
def test_majority_is_counted_over_all_draws(answers: list[str | None], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(answers)))
    won = 0.0
    for drawn in combinations(answers, k):
        votes = Counter(one for one in drawn if one is not None)
        best = [one for one, count in votes.items() if count == max(votes.values())]
        won += ("right" in best) / len(best) if best else 0
    assert_allclose(majority_at_k(answers, "right", k), won / comb(len(answers), k), atol=1e-12)


def test_majority_of_many_answers() -> None:
    assert majority_at_k([*range(200), 7], 7, 201) == 1
    assert np.isnan(majority_at_k(["a"], "a", 2))
    with pytest.raises(ValueError):
        majority_at_k(["a"], "a", 0)


def draw(kind: str, rng: np.random.Generator, problems: int) -> NDArray[np.float64]:
    """One value per problem of a law with mean 0.3."""
    if kind == "yes or no":
        return (rng.random(problems) < 0.3).astype(float)
    if kind == "hard or easy":  # pass@1 of 16 samples where problems differ much
        return rng.binomial(16, rng.beta(0.3, 0.7, problems)) / 16
    return rng.beta(3, 7, problems)


@pytest.mark.parametrize("kind", ["yes or no", "hard or easy", "alike"])
@pytest.mark.parametrize("problems", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_intervals_hold_the_true_mean_as_often_as_they_say(kind: str, problems: int) -> None:
    """In 95 % of 1,000 evaluations, give or take three standard errors of that share."""
    rng = np.random.default_rng(0)
    found = [estimate(draw(kind, rng, problems)) for _ in range(1000)]
    assert 0.929 <= np.mean([one.low <= 0.3 <= one.high for one in found]) <= 0.971


def test_an_interval_of_values_at_one_end() -> None:
    """Nobody solved any of 30: with a true mean of `high` that happens in 2.5 % of all evaluations."""
    none = estimate(np.zeros(30))
    assert (none.value, none.low) == (0, 0)
    assert_allclose(stats.binom(30, none.high).pmf(0), 0.025)
    every = estimate(np.ones(30))
    assert_allclose((every.value, every.low, every.high), (1, 1 - none.high, 1))
    same = estimate(np.zeros(30), -1)  # no difference on any problem: as many may have one, either way
    assert_allclose((same.value, same.low, same.high), (0, -none.high, none.high))


def test_an_interval_of_nothing_and_of_what_is_missing() -> None:
    assert all(np.isnan([(one := estimate([np.nan])).value, one.low, one.high]))
    assert estimate([0.5, np.nan, 0.25]) == estimate([0.5, 0.25])
    assert estimate([0.5]) == Estimate(0.5, 0.5 - 0.975 / 2, 0.5 + 0.975 / 2)


def test_the_interval_is_that_of_scipy() -> None:
    x = np.random.default_rng(3).beta(2, 2, 80)
    ours = estimate(x)
    # the expanded interval: Student's quantile and the unbiased spread in place of the normal ones
    level = 1 - 2 * stats.norm.cdf(-np.sqrt(80 / 79) * stats.t(79).ppf(0.975))
    theirs = stats.bootstrap((x,), np.mean, method="percentile", n_resamples=20_000, confidence_level=level, rng=4)
    assert_allclose((ours.low, ours.high), theirs.confidence_interval, atol=0.003)
    assert ours.value == x.mean() and ours == estimate(x)


@pytest.mark.parametrize("problems", [5, 12, 40])
def test_sign_flips_are_those_of_scipy(problems: int) -> None:
    rng = np.random.default_rng(problems)
    for shift in (0, 0.3, 1):
        x = rng.normal(shift, 1, problems)
        theirs = stats.permutation_test((x,), np.mean, permutation_type="samples", n_resamples=99_999, rng=1).pvalue
        assert_allclose(sign_flip([*x, 0, np.nan]), theirs, atol=0.01)


def test_sign_flips_by_hand() -> None:
    assert sign_flip([0, 0, np.nan]) == 1
    assert sign_flip([1, 1, 1]) == 0.25  # 2 of 8 combinations
    assert sign_flip([2, 1, -1]) == 0.75  # |sum| >= 2 in 6 of 8


def test_sign_flips_find_nothing_where_nothing_is() -> None:
    """Exact p of 12 problems are below 0.05 in about 5 % of 600 evaluations."""
    rng = np.random.default_rng(2)
    found = [sign_flip(rng.normal(size=12)) <= 0.05 for _ in range(600)]
    assert 0.023 <= np.mean(found) <= 0.077


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_a_binomial_test(pairs: list[tuple[bool, bool]]) -> None:
    a, b = np.array(pairs).T
    wins, losses = int((a & ~b).sum()), int((~a & b).sum())
    want = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert_allclose(mcnemar(a, b), want)


def test_holm_by_hand() -> None:
    assert_allclose(holm([0.04, 0.01, 0.03]), [0.06, 0.03, 0.06])
    assert_allclose(holm([0.6, 0.7]), [1, 1])
    assert len(holm([])) == 0


def test_slope_is_that_of_a_fitted_line() -> None:
    temperatures, values = [0.1, 0.3, 0.6, 1.0], np.random.default_rng(5).random((7, 4))
    assert_allclose(slopes(values, temperatures).mean(), np.polyfit(temperatures, values.mean(0), 1)[0])
    with pytest.raises(ValueError):
        slopes(values[:, :2], [1, 1])


@pytest.mark.parametrize("difference, p, said", [
    ((0.05, 0.01, 0.09), 0.01, "better"), ((-0.05, -0.09, -0.01), 0.01, "worse"),
    ((0.005, -0.01, 0.019), 0.4, "equivalent"), ((0.005, -0.03, 0.019), 0.4, "no difference shown"),
    ((0.005, 0.001, 0.009), 0.01, "better"), ((0, 0, 0), 1, "equivalent")])
def test_a_verdict_in_words(difference: tuple[float, float, float], p: float, said: str) -> None:
    assert verdict(Estimate(*difference), p, 20) == said
    few = "no difference shown" if said == "equivalent" else said
    assert [verdict(Estimate(*difference), p, differing) for differing in (1, 9, 10)] == [few, few, said]


def test_no_problem_that_differs_may_be_equivalence() -> None:
    """As far as as many problems reach as were asked."""
    for problems, said in ((100, "no difference shown"), (200, "equivalent")):
        assert verdict(estimate(np.zeros(problems), -1), 1, 0) == said
