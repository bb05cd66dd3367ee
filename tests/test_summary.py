"""summary.json against numbers counted by hand, and by going through every way to draw k samples."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from evaluations import CONTROL, LED, STANDARD, cell, problems, sample, score
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from ledlocal.evals.arm import Arm
from ledlocal.evals.plan import Plan
from ledlocal.evals.run_folder import Sample, Score
from ledlocal.evals.summary import Cell, cells, powers, row_of, summary_of, to_text

VOTES = [["right", "a", "a", "right", "b", "right"], ["a", "a", "right", None, "b", "b"],
         ["right"] * 6, [None, None, "b", "right", None, "b"], ["a", "b", "c", "d", "e", "f"]]
"""Five problems with six samples each; `right` is the known answer."""


def voted(votes: Sequence[Sequence[str | None]], arm: Arm = LED) -> Cell:
    """A cell whose samples say this; UNKNOWN: not graded."""
    asked = problems(len(votes))
    return Cell("t", arm, tuple(tuple(sample(asked[p].id, i, arm) for i in range(len(row))) for p, row in
                                enumerate(votes)),
                tuple(tuple(score(asked[p].id, i, None if one == UNKNOWN else one == "right",
                                  None if one == UNKNOWN else one, arm) for i, one in enumerate(row))
                      for p, row in enumerate(votes)),
                ("right",) * len(votes), tuple(problem.question for problem in asked))


UNKNOWN = "unknown"


def majority(drawn: Sequence[str | None]) -> float:
    votes = Counter(one for one in drawn if one is not None)
    best = [one for one, count in votes.items() if count == max(votes.values())]
    return ("right" in best) / len(best) if best else 0.0


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("k", range(1, 7))
def test_pass_at_k_is_the_mean_over_all_draws_and_problems(k: int) -> None:
    want = mean([mean([float("right" in drawn) for drawn in combinations(row, k)]) for row in VOTES])
    found = row_of(voted(VOTES), 6)["pass_at"][str(k)]
    assert_allclose(found["value"], want)
    assert 0 <= found["low"] <= want <= found["high"] <= 1


@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_maj_at_k_is_the_mean_over_all_draws_and_problems(k: int) -> None:
    want = mean([mean([majority(drawn) for drawn in combinations(row, k)]) for row in VOTES])
    row = row_of(voted(VOTES), 6)
    assert_allclose(row["maj_at"][str(k)]["value"], want)
    assert list(row["maj_at"]) == ["1", "2", "4", "6"]


def test_the_papers_maximum_is_over_the_first_k_samples() -> None:
    """Right ones stand at 1, 3, 1, 4, never: problems solved by the first k, counted by hand."""
    assert row_of(voted(VOTES), 6)["max_over_first"] == {"1": 0.4, "2": 0.4, "3": 0.6, "4": 0.8, "5": 0.8, "6": 0.8}


def test_maximum_and_pass_agree_where_all_samples_are_looked_at() -> None:
    row = row_of(voted(VOTES), 6)
    assert row["max_over_first"]["6"] == row["pass_at"]["6"]["value"] == 0.8


def test_what_is_not_graded_is_neither_right_nor_wrong() -> None:
    """One of three graded is right, and two of two: 2/3 with 2 samples; only the first problem has three."""
    row = row_of(voted([["right", "a", UNKNOWN, "b"], [UNKNOWN, UNKNOWN, "right", "right"]]), 4)
    assert_allclose(row["pass_at"]["1"]["value"], (1 / 3 + 1) / 2)
    assert_allclose(row["pass_at"]["2"]["value"], (2 / 3 + 1) / 2)
    assert row["pass_at"]["3"]["value"] == 1
    assert row["pass_at"]["4"] == {"value": None, "low": None, "high": None}
    assert row["maj_at"]["4"]["value"] is None
    assert_allclose(row["maj_at"]["2"]["value"], (mean([0.5, 0.5, 0]) + 1) / 2)
    assert row["max_over_first"] == {"1": 1.0, "2": 1.0, "3": 1.0, "4": None}
    assert row["not_graded"] == 3


def test_a_run_where_nothing_was_graded_has_no_numbers() -> None:
    found = [voted([[UNKNOWN] * 3, [UNKNOWN] * 3])]
    text = to_text(summary_of(Plan(("t",), (LED,), 3), found))
    assert "NaN" not in text and "Infinity" not in text
    [row] = json.loads(text)["rows"]
    assert all(value["value"] is None for value in (*row["pass_at"].values(), *row["maj_at"].values()))
    assert row["max_over_first"] == {"1": None, "2": None, "3": None}
    assert (row["not_graded"], row["samples"], row["thinking_tokens"]) == (6, 6, 10)


def test_a_run_without_a_sample_has_no_numbers() -> None:
    plan = Plan(("t",), (LED,), 2)
    text = to_text(summary_of(plan, cells(plan, {"t": problems(3)}, {}, {})))
    summary = json.loads(text)
    [row] = summary["rows"]
    assert not summary["complete"] and "NaN" not in text
    assert (row["problems"], row["samples"], row["thinking_tokens"], row["explored_share"]) == (0, 0, None, None)
    assert row["max_over_first"] == {"1": None, "2": None}


def tokens_of(arm: Arm) -> dict[str, Any]:
    """20 thinking and 5 answer tokens of three samples, of which 4 were explored and 1 changed."""
    asked = problems(2)
    given = [("0", sample("0", 0, arm, "stop", 7, 2, 3, 1)), ("0", sample("0", 1, arm, "length", 9, 0, 1, 0)),
             ("1", sample("1", 0, arm, "length", 4, 3))]
    rows = tuple(tuple(one for p, one in given if p == problem.id) for problem in asked)
    marks = tuple(tuple(score(one.problem, one.sample, False, None, arm) for one in row) for row in rows)
    return row_of(Cell("t", arm, rows, marks, ("g", "g"), ("q", "r")), 2)


def test_tokens_and_shares_by_hand() -> None:
    row = tokens_of(LED)
    assert_allclose([row["thinking_tokens"], row["answer_tokens"]], [20 / 3, 5 / 3])
    assert (row["explored_share"], row["changed_share"]) == (4 / 20, 1 / 20)
    assert (row["truncated"], row["not_graded"], row["samples"], row["problems"]) == (2, 0, 3, 2)
    assert (row["method"], row["temperature"], row["control"]) == ("led", 0.6, "control")


def test_a_prompt_that_does_not_fit_says_nothing_of_lengths() -> None:
    rows = ((sample("0", 0, LED, "stop", 7, 2), replace(sample("0", 1, LED, "invalid", 0, 0), prompt_tokens=0)),)
    marks = ((score("0", 0, True, None), score("0", 1, None, None)),)
    row = row_of(Cell("t", LED, rows, marks, ("g",), ("q",)), 2)
    assert (row["samples"], row["not_graded"]) == (2, 1)
    assert (row["thinking_tokens"], row["answer_tokens"]) == (7, 2)


def test_shares_are_of_all_tokens_where_the_answer_is_explored_too() -> None:
    for method in ("led:scope=all", "led:answer.scope=all"):
        row = tokens_of(Arm(method, 0.6, "control"))
        assert (row["explored_share"], row["changed_share"]) == (4 / 25, 1 / 25)
    assert tokens_of(Arm("led:think.scope=all", 0.6))["explored_share"] == 4 / 20
    assert tokens_of(STANDARD)["control"] is None


def whole(seed: int = 0) -> tuple[Plan, list[Sample], list[Score]]:
    rng = random.Random(seed)
    plan = Plan(("t",), (LED, CONTROL, STANDARD), 4)
    places = [(problem, arm, i) for problem in problems(7) for arm in plan.arms for i in range(4)]
    samples = [sample(problem.id, i, arm, "stop", rng.randint(0, 50), rng.randint(0, 9), rng.randint(0, 5))
               for problem, arm, i in places]
    scores = []
    for problem, arm, i in places:
        vote = rng.choice([problem.gold, "a", "b", None])
        scores.append(score(problem.id, i, rng.choice([vote == problem.gold] * 9 + [None]), vote, arm))
    return plan, samples, scores


def summarized(plan: Plan, samples: Sequence[Sample], scores: Sequence[Score]) -> str:
    return to_text(summary_of(plan, cells(plan, {"t": problems(7)}, {one.key: one for one in samples},
                                          {one.key: one for one in scores})))


def test_the_order_of_samples_and_scores_changes_no_byte() -> None:
    plan, samples, scores = whole()
    before = summarized(plan, samples, scores)
    rng = random.Random(1)
    for _ in range(5):
        rng.shuffle(samples)
        rng.shuffle(scores)
        assert summarized(plan, samples, scores) == before


def test_an_incomplete_run_counts_what_has_both_sample_and_score() -> None:
    plan, samples, scores = whole()
    assert json.loads(summarized(plan, samples, scores))["complete"]
    gone = {("3", "led", 0), ("3", "led", 2), ("5", "led", 1)}
    fewer = [one for one in samples if (one.problem, one.method, one.sample) not in gone]
    summary = json.loads(summarized(plan, fewer, scores[:-1]))
    assert not summary["complete"]
    led, control, standard = summary["rows"]
    assert [(row["problems"], row["samples"]) for row in (led, control, standard)] == [(5, 20), (7, 28), (6, 24)]
    whole_ones = [b for b in scores if b.method == "led" and b.problem in "01246"]
    assert_allclose(led["pass_at"]["1"]["value"], mean([
        mean([float(b.correct) for b in whole_ones if b.problem == p and b.correct is not None]) for p in "01246"]))
    full = [p for p in "01246" if sum(b.problem == p and b.correct is not None for b in whole_ones) == 4]
    assert 0 < len(full) < 5
    solved = [any(b.correct for b in whole_ones if b.problem == p) for p in full]
    assert led["pass_at"]["4"]["value"] == led["max_over_first"]["4"] == mean(solved)


@pytest.mark.parametrize(("judged", "said"), [(7 * 12, "paper"), (20, "answer and paper"), (0, "answer")])
def test_the_numbers_are_those_of_the_grading_that_was_used(judged: int, said: str) -> None:
    """Whatever the plan says: it is `answer`."""
    plan, samples, scores = whole()
    scores = [replace(one, grading="paper") for one in scores[:judged]] + scores[judged:]
    assert json.loads(summarized(plan, samples, scores))["grading"] == said


@given(st.integers(1, 300))
def test_powers_are_those_of_two_and_n(n: int) -> None:
    want = {n}
    k = 1
    while k <= n:
        want.add(k)
        k *= 2
    assert powers(n) == sorted(want)


@given(st.lists(st.lists(st.sampled_from([True, False, None]), min_size=3, max_size=3), min_size=1, max_size=6))
def test_pass_at_n_is_the_maximum_over_n(grades: list[list[bool | None]]) -> None:
    row = row_of(cell(grades), 3)
    assert row["pass_at"]["3"]["value"] == pytest.approx(row["max_over_first"]["3"])
    values = [row["pass_at"][str(k)]["value"] for k in (1, 2, 3)]
    if all(one is not None for line in grades for one in line):
        assert values == sorted(values)  # more samples never solve less
