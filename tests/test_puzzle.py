"""Number puzzles: what is asked, and what counts as solved."""

from __future__ import annotations

import random
import re
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledlocal.evals.puzzle import (
    COUNTS,
    NUMBERS,
    PROBLEMS,
    TARGETS,
    Puzzle,
    evaluate,
    held_out,
    name_of,
    pose,
    puzzle_in,
)
from ledlocal.evals.task import Grade, Problem
from ledlocal.evals.wording import WORDINGS, read, word

TASK = Puzzle()
THREE = Problem("3-7-12=33", "Use 3, 7 and 12 to make 33.", "(3*7)+12=33", "(3*7)+12=33")


def reachable(numbers: list[int]) -> set[int]:
    """Every value of every expression with these numbers, by brute force over pairs."""
    if len(numbers) == 1:
        return set(numbers)
    found: set[int] = set()
    for (i, a), (j, b) in permutations(enumerate(numbers), 2):
        rest = [number for k, number in enumerate(numbers) if k not in (i, j)]
        for value in (a + b, a - b, a * b):
            found |= reachable([*rest, value])
    return found


def test_problems_are_different_held_out_and_solvable() -> None:
    problems = TASK.problems()
    assert len({problem.id for problem in problems}) == len(problems) == PROBLEMS
    assert problems == TASK.problems()
    assert {problem.id.count("-") + 1 for problem in problems} == set(COUNTS)
    for problem in problems:
        left, target = problem.id.split("=")
        numbers = [int(number) for number in left.split("-")]
        asked = [int(number) for number in re.findall(r"\d+", problem.question)]
        assert sorted(asked) == sorted([*numbers, int(target)])
        assert held_out(numbers, int(target))
        assert int(target) in reachable(numbers)
        assert TASK.grade(problem, problem.solution) == Grade(True, problem.gold)
        assert TASK.grade(problem, "") == Grade(False, None)


def test_the_split_is_the_one_of_the_demo_models_training() -> None:
    """The first of the problems that the training's own script held out, and one that it did not."""
    assert held_out([2, 8, 3], 13) and held_out([3, 5, 8, 10], 16) and held_out([6, 8, 11], 94)
    assert not held_out([12, 7, 3], 33)
    share = sum(held_out([a, b, c], 50) for a, b, c in product(range(1, 13), repeat=3)) / 12**3
    assert 0.1 < share < 0.15


@pytest.mark.parametrize("answer, correct, vote", [
    ("(3*7)+12=33", True, THREE.gold),
    (" 12 + 7 * 3 \n", True, THREE.gold),
    ("I see.\n\n12+(7*3) = 33", True, THREE.gold),
    ("(3*7)+12=34", False, "(3*7)+12"),
    ("3*11", False, "3*11"),
    ("(3*7)+12+0", False, "(3*7)+12+0"),
    ("33", False, "33"),
    ("37-(12//3)", False, None),
    ("3**7", False, None),
    ("I did not find it.", False, None),
    ("(3*7)+12=33 yes", False, "(3*7)+12"),
    ("__import__('os')", False, None),
    ("True+32", False, None),
    ("(" * 100, False, None),
    ("-3+36", False, None),
    ("٣*7+12", False, None),
    ("0x21", False, None),
    ("3 7", False, None),
    ("9" * 70 + "*" + "9" * 9, False, "9" * 70 + "*" + "9" * 9),
    ("9" * 81, False, None),
])
def test_what_counts_as_solved(answer: str, correct: bool, vote: str | None) -> None:
    assert TASK.grade(THREE, answer) == Grade(correct, vote)


EXPRESSIONS = st.recursive(st.integers(0, 12).map(str), lambda inner: st.builds("({}{}{})".format, inner,
                           st.sampled_from(["+", " - ", "*"]), inner), max_leaves=8)


@given(EXPRESSIONS)
def test_values_are_those_of_python(text: str) -> None:
    assert evaluate(text) == (eval(text) if len(text) <= 80 else None)


@given(st.text("0123456789+-*()= \n") | st.text())
def test_any_text_gets_a_grade(text: str) -> None:
    assert TASK.grade(THREE, text).correct in (True, False)


@given(st.integers(0, 2**32))
def test_every_wording_is_read_back(seed: int) -> None:
    rng = random.Random(seed)
    numbers, target, solution = pose(rng)
    assert len(numbers) in COUNTS and set(numbers) <= set(NUMBERS) and target in TARGETS
    assert read(word(numbers, target, rng)) == (numbers, target)
    problem = Problem(name_of(numbers, target), "", "", "")
    assert Puzzle().grade(problem, solution).correct


def test_wordings_are_many_and_different() -> None:
    assert len(set(WORDINGS)) == len(WORDINGS) >= 60
    said = {word([3, 7, 12], 33, random.Random(i)) for i in range(4000)}
    assert len(said) > 400
    assert all(read(text) == ([3, 7, 12], 33) for text in said)


@pytest.mark.parametrize("text", ["", "Hello", "Use 3 and 7 to make 21.", "Use 3, 7 and 12.",
                                  "Use 3, 7 and 12 to make 33 please",
                                  "3 7 12 33", "Use 3, 7 and ١٢ to make 33.", f"Use 3, 7 and {'9' * 5000} to make 33."])
def test_what_is_no_wording_is_not_read(text: str) -> None:
    assert read(text) is None and puzzle_in(text) is None


def test_a_typed_puzzle_is_known_whatever_its_spaces_and_its_case() -> None:
    found = puzzle_in("  use 12,  7 and 3\nto make 33 ")
    assert found is not None and found.id == THREE.id and TASK.grade(found, "(3*7)+12=33").correct
