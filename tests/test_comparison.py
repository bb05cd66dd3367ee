"""Paired comparisons: by hand, against scipy and NumPy, and over many simulated runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from evaluations import CONTROL, LED, STANDARD, cell, problems
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import stats

from ledlocal.evals.arm import Arm
from ledlocal.evals.comparison import MARGIN, Comparison, alphas, between, judged, to_text
from ledlocal.evals.comparison import within as within_plan
from ledlocal.evals.plan import Plan, primary_of
from ledlocal.evals.summary import Cell
from ledlocal.statistics import paired
from ledlocal.statistics.interval import Estimate
from ledlocal.statistics.pass_at_k import pass_at_k
from ledlocal.values.errors import BadInput

YES, NO = True, False


def within(cells: Sequence[Cell], n: int, margin: float = MARGIN) -> list[Comparison]:
    """Of a run that was made for every LED variant in it."""
    arms = tuple(dict.fromkeys(cell.arm for cell in cells))
    tasks = tuple(dict.fromkeys(cell.task for cell in cells))
    return within_plan(Plan(tasks, arms, n, primary=primary_of(tasks, arms, n)), cells, margin)


def one_of(found: Sequence[Comparison], measure: str, method: str = "led", against: str = "control") -> Comparison:
    [one] = [one for one in found if (one.measure, one.method, one.against) == (measure, method, against)]
    return one


def drawn(rng: np.random.Generator, chances: NDArray[np.float64], samples: int, arm: Arm = LED) -> Cell:
    """Samples that are right with each problem's chance."""
    return cell((rng.random((len(chances), samples)) < chances[:, None]).tolist(), arm)


def test_differences_by_hand() -> None:
    """Right of two: 2, 1, 0, 1 against 1, 1, 0, 0."""
    led = cell([[YES, YES], [NO, YES], [NO, NO], [YES, NO]])
    control = cell([[YES, NO], [YES, NO], [NO, NO], [NO, NO]], CONTROL)
    found = within([led, control], 2)
    first, both = one_of(found, "pass@1"), one_of(found, "pass@2")
    assert (first.difference.value, both.difference.value) == (0.25, 0.25)  # (0.5+0+0+0.5)/4, (0+0+0+1)/4
    assert (first.problems, both.problems) == (4, 4)
    assert first.p == 0.5  # two problems differ, both up: 2 of 4 combinations of signs
    assert both.p == 1.0  # one problem differs
    assert (first.adjusted, both.adjusted) == (1.0, 1.0)
    assert first.difference.low <= 0 and first.difference.high >= 0.25


def test_what_is_compared_and_what_the_run_was_made_for() -> None:
    grades = [[YES, NO], [NO, NO]]
    found = within([cell(grades, STANDARD), cell(grades), cell(grades, CONTROL),
                    cell(grades, Arm("standard:order=paper", 0.6))], 2)
    assert [(one.method, one.against, one.measure, one.primary) for one in found] == [
        (method, against, measure, against == "control") for method, against in (
            ("led", "control"), ("led", "standard"), ("control", "standard"), ("standard:order=paper", "standard"))
        for measure in ("pass@1", "pass@2")]


def test_methods_are_compared_at_their_own_temperature_and_task() -> None:
    hot, cold = Arm("led", 1.0, "control"), Arm("control", 1.0)
    cells = [cell([[YES]]), cell([[NO]], CONTROL), cell([[NO]], hot), cell([[NO]], cold),
             cell([[NO]], LED, "u"), cell([[YES]], CONTROL, "u")]
    found = within(cells, 1)
    assert [(one.task, one.temperature, one.difference.value, one.measure) for one in found] == [
        ("t", 0.6, 1.0, "pass@1"), ("t", 1.0, 0.0, "pass@1"), ("u", 0.6, -1.0, "pass@1")]


@pytest.mark.parametrize(("count", "tolerance"), [(10, 1e-12), (60, 0.006)])
def test_p_of_pass_at_1_is_that_of_a_permutation_test(count: int, tolerance: float) -> None:
    """Exact where few problems differ."""
    rng = np.random.default_rng(count)
    chances = rng.uniform(0.1, 0.7, count)
    for gain in (0.0, 0.1, 0.25):
        led, control = drawn(rng, chances + gain, 8), drawn(rng, chances, 8, CONTROL)
        differences = led.correct / 8 - control.correct / 8
        theirs = stats.permutation_test((differences,), np.mean, permutation_type="samples", rng=1,
                                        n_resamples=np.inf if count <= 16 else 99_999).pvalue
        assert_allclose(one_of(within([led, control], 8), "pass@1").p, theirs, atol=tolerance)


def test_p_of_pass_at_n_is_that_of_a_binomial_test_of_discordant_problems() -> None:
    rng = np.random.default_rng(3)
    for gain in (0.0, 0.1, 0.3):
        led = drawn(rng, np.full(50, 0.1 + gain), 4)
        control = drawn(rng, np.full(50, 0.1), 4, CONTROL)
        wins = int(((led.correct > 0) & (control.correct == 0)).sum())
        losses = int(((led.correct == 0) & (control.correct > 0)).sum())
        assert wins + losses > 10
        assert_allclose(one_of(within([led, control], 4), "pass@4").p, stats.binomtest(wins, wins + losses).pvalue)


def with_p(*p: float) -> list[Comparison]:
    difference, none = Estimate(0.1, 0.01, 0.2), "no difference shown"
    return [Comparison("t", 0.6, f"m{i}", "control", "pass@1", True, False, 20, 20, difference, one, one, none)
            for i, one in enumerate(p)]


def test_holm_by_hand() -> None:
    """0.004*5, 0.011*4, 0.02*3, then 0.025*2 = 0.05, but no less than the one before; 0.9."""
    found = judged(with_p(0.02, 0.9, 0.004, 0.025, 0.011), 0.02)
    assert_allclose([one.adjusted for one in found], [0.06, 0.9, 0.02, 0.06, 0.044])
    assert [one.p for one in found] == [0.02, 0.9, 0.004, 0.025, 0.011]
    assert [one.verdict for one in found] == ["no difference shown", "no difference shown", "better",
                                              "no difference shown", "better"]


def test_more_comparisons_take_more_to_show() -> None:
    assert judged(with_p(0.03), 0.02)[0].verdict == "better"
    assert {one.verdict for one in judged(with_p(0.03, 0.03), 0.02)} == {"no difference shown"}


def verdicts(mine: list[list[bool | None]], theirs: list[list[bool | None]], margin: float = 0.02) -> set[str]:
    return {one.verdict for one in within([cell(mine), cell(theirs, CONTROL)], len(mine[0]), margin)}


def test_every_verdict_is_reached() -> None:
    solved: list[list[bool | None]] = [[YES, YES]] * 20
    failed: list[list[bool | None]] = [[NO, NO]] * 20
    assert verdicts(solved, failed) == {"better"}
    assert verdicts(failed, solved) == {"worse"}
    assert verdicts(solved, solved) == {"everything solved"}
    assert verdicts(failed, failed) == {"nothing solved"}
    some = [*solved[:10], *failed[:10]]
    assert verdicts(some, some) == {"no difference shown"}  # 20 problems cannot show that there is none
    assert verdicts(some * 10, some * 10) == {"equivalent"}
    assert verdicts(some * 10, some * 10, margin=0.01) == {"no difference shown"}
    assert verdicts(solved * 10, solved * 10) == {"everything solved"}  # it may not be so where they are hard


def test_a_variant_that_explored_nothing_has_no_verdict() -> None:
    """Its samples are its control's, however many problems there are."""
    some: list[list[bool | None]] = [[YES, YES], [NO, NO]] * 100
    led, control, standard = cell(some), cell(some, CONTROL), cell([[NO, NO]] * 200, STANDARD)
    idle = replace(led, samples=tuple(tuple(replace(one, explored=0) for one in row) for row in led.samples))
    assert {one.verdict for one in within([led, control], 2)} == {"equivalent"}
    assert {one.verdict for one in within([idle, control], 2)} == {"nothing explored"}
    against = {one.against: one.verdict for one in within([idle, control, standard], 2) if one.method == "led"}
    assert against == {"control": "nothing explored", "standard": "better"}


def test_what_was_not_named_is_secondary() -> None:
    grades = [[YES, NO], [NO, NO]]
    cells = [cell(grades), cell(grades, Arm("led:d=4", 0.6, "control")), cell(grades, CONTROL)]
    plan = Plan(("t",), tuple(one.arm for one in cells), 2, primary=primary_of(("t",), [LED], 2))
    assert [(one.method, one.measure) for one in within_plan(plan, cells) if one.primary] == [
        ("led", "pass@1"), ("led", "pass@2")]
    assert [(one.method, one.against) for one in within_plan(plan, cells) if one.measure == "pass@1"] == [
        ("led", "control"), ("led:d=4", "control"), ("led:d=4", "led")]


def test_as_json_there_is_no_nan() -> None:
    cells = [cell([[None]], Arm("led", at)) for at in (0.5, 1.0)]
    found = json.loads(to_text([], list(alphas(cells, 1)), 0.02), parse_constant=pytest.fail)
    assert found["alpha"][0]["slope"] == {"value": None, "low": None, "high": None}


def test_runs_that_are_judged_differently_are_refused() -> None:
    first, second = cell([[YES], [NO]]), cell([[YES], [NO]])
    paper = replace(second, scores=tuple(tuple(replace(one, grading="paper") for one in row) for row in second.scores))
    with pytest.raises(BadInput, match="a is judged by answer, b by paper; `ledlocal grade` makes them alike"):
        between([first], [paper], 1, ("a", "b"))


def test_without_a_difference_a_significant_p_is_no_verdict() -> None:
    [one] = judged([replace(with_p(0.01)[0], difference=Estimate(0.0, -0.1, 0.1))], 0.02)
    assert one.verdict == "no difference shown"


def test_problems_that_one_side_lacks_are_left_out_of_both() -> None:
    led = cell([[YES, YES], [YES, YES], [None, NO], [YES, NO]])
    control = cell([[NO, NO], [YES, None], [NO, NO], [YES, YES]], CONTROL)
    found = within([led, control], 2)
    first, both = one_of(found, "pass@1"), one_of(found, "pass@2")
    assert (first.problems, both.problems) == (4, 2)
    assert first.difference.value == (1 + 0 + 0 - 0.5) / 4
    assert both.difference.value == (1 + 0) / 2  # the first and the last


def test_where_no_problem_is_on_both_sides_nothing_is_compared() -> None:
    assert within([cell([[YES], [None]]), cell([[None], [YES]], CONTROL)], 1) == []
    assert within([cell([[YES]])], 1) == []


def test_two_runs_are_compared_method_by_method() -> None:
    first = [cell([[YES], [YES]]), cell([[NO], [YES]], STANDARD), cell([[NO], [NO]], Arm("led", 1.0))]
    second = [cell([[NO], [NO]], STANDARD), cell([[YES], [NO]])]
    found = between(first, second, 1, ("new", "old"))
    assert [(one.method, one.against, one.difference.value, one.primary) for one in found] == [
        ("new: led", "old: led", 0.5, False), ("new: standard", "old: standard", 0.5, False)]


def test_runs_with_other_problems_are_refused() -> None:
    mine = problems(2)
    changed = ([replace(mine[0], gold="x"), mine[1]], [replace(mine[0], question="another"), mine[1]], mine[::-1])
    for asked in changed:
        with pytest.raises(BadInput, match="t: the two runs do not ask the same problems"):
            between([cell([[YES], [NO]], asked=mine)], [cell([[YES], [NO]], asked=asked)], 1, ("a", "b"))
    with pytest.raises(BadInput, match="do not ask the same problems"):
        between([cell([[YES], [NO]])], [cell([[YES]])], 1, ("a", "b"))


def test_runs_with_nothing_in_common_are_refused() -> None:
    for other in (cell([[YES]], STANDARD), cell([[YES]], LED, "u"), cell([[YES]], Arm("led", 1.0))):
        with pytest.raises(BadInput, match="a and b have no task with a common method and temperature"):
            between([cell([[YES]])], [other], 1, ("a", "b"))


def test_alpha_is_the_slope_of_a_line_through_the_means() -> None:
    rng = np.random.default_rng(4)
    temperatures = [1.0, 0.3, 0.6]
    cells = [drawn(rng, np.full(12, 0.2 + 0.3 * at), 4, Arm("led", at)) for at in temperatures]
    found = {one.n: one for one in alphas([*cells, cell([[YES] * 4], STANDARD)], 4)}
    assert list(found) == [1, 2, 4]
    for k, one in found.items():
        means = [pass_at_k(each.correct, each.graded, k).mean() for each in cells]
        assert (one.task, one.method) == ("t", "led")
        assert_allclose(one.slope.value, np.polyfit(temperatures, means, 1)[0])
        assert one.slope.low < one.slope.value < one.slope.high


def test_alpha_has_no_certainty_where_all_slopes_are_the_same() -> None:
    """Nobody solves anything: of 20 problems an unseen one may still go from 0 to 1, or back."""
    cells = [cell([[NO]] * 20, Arm("led", at)) for at in (0.5, 1.0)]
    [one] = alphas(cells, 1)
    unseen = 1 - 0.025 ** (1 / 20)
    assert_allclose([one.slope.value, one.slope.low, one.slope.high], [0, -2 * unseen, 2 * unseen])


@dataclass(frozen=True)
class Counted:
    """What a comparison asks of a Cell, without the samples: simulations need many."""

    arm: Arm
    correct: NDArray[np.int64]
    samples: int
    task: str = "t"
    explored: int = 1
    gold: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()

    def pass_at(self, k: int) -> NDArray[np.float64]:
        return pass_at_k(self.correct, np.full(len(self.correct), self.samples), k)


def compared(rng: np.random.Generator, chances: Sequence[NDArray[np.float64]], arms: Sequence[Arm],
             samples: int = 8) -> list[Comparison]:
    return within([Counted(arm, rng.binomial(samples, one), samples)  # type: ignore[misc]
                   for arm, one in zip(arms, chances, strict=True)], samples)


@pytest.fixture
def fewer_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    """p by random signs is sound with any number of them (Phipson and Smyth 2010)."""
    monkeypatch.setattr(paired, "FLIPS", 999)
    monkeypatch.setattr(paired, "EXACT", 8)


RUNS = 600


@pytest.mark.usefixtures("fewer_flips")
def test_the_interval_holds_the_true_difference_in_95_percent_of_all_runs() -> None:
    """40 problems x 8 samples, of problems of which half gain 0.1: 0.05 in the mean of all problems that there are."""
    rng = np.random.default_rng(11)
    held = []
    for _ in range(RUNS):
        chances = rng.beta(0.8, 0.8, 40) * 0.9
        gains = 0.1 * rng.integers(0, 2, 40)
        one = one_of(compared(rng, (chances + gains, chances), (LED, CONTROL)), "pass@1")
        held.append(one.difference.low <= 0.05 <= one.difference.high)
    error = 3 * np.sqrt(0.95 * 0.05 / RUNS)
    assert 0.95 - error <= np.mean(held) <= 0.95 + error


@pytest.mark.usefixtures("fewer_flips")
@pytest.mark.parametrize("hardest", [pytest.param(0.9, marks=pytest.mark.slow), 0.15])
def test_where_nothing_differs_few_runs_say_that_something_does(hardest: float) -> None:
    """Six comparisons of a run; of hard problems, too, where few differ and p is coarse."""
    rng = np.random.default_rng(12)
    said = []
    for _ in range(RUNS):
        chances = rng.beta(0.8, 0.8, 40) * hardest
        found = compared(rng, (chances,) * 3, (STANDARD, LED, CONTROL))
        assert len(found) == 6
        said.append(any(one.verdict in ("better", "worse") for one in found))
    assert np.mean(said) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / RUNS)


@pytest.mark.usefixtures("fewer_flips")
def test_where_much_differs_most_runs_say_so() -> None:
    """The tests above would pass if nothing were ever found."""
    rng = np.random.default_rng(13)
    said = []
    for _ in range(100):
        chances = rng.uniform(0.1, 0.5, 40)
        found = compared(rng, (chances, chances + 0.25, chances), (STANDARD, LED, CONTROL))
        said.append([one.verdict for one in found if one.measure == "pass@1" and one.primary])
    assert np.mean([one == ["better"] for one in said]) > 0.95
    assert ["worse"] not in said
