"""The puzzles of the recipe and how they are worded (extra `train`)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.puzzle import COUNTS, NUMBERS, name_of, pose, problems, puzzle_in
from demo.wording import WORDINGS, read, word
from ledlocal.evals.puzzle import PROBLEMS, TARGETS, Puzzle, held_out
from ledlocal.evals.task import Grade, Problem


def test_problems_are_different_held_out_and_solvable() -> None:
    asked = problems()
    assert asked == problems()
    assert len({problem.id for problem in asked}) == len(asked) == PROBLEMS
    assert {problem.id.count("-") + 1 for problem in asked} == set(COUNTS)
    for problem in asked:
        found = read(problem.question)
        assert found is not None and held_out(*found) and name_of(*found) == problem.id
        assert Puzzle().grade(problem, problem.solution) == Grade(True, problem.gold)


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
    assert found is not None and found.id == "3-7-12=33" and Puzzle().grade(found, "(3*7)+12=33").correct
