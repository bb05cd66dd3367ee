"""Samples, scores and cells of a run, built by hand."""

from __future__ import annotations

from collections.abc import Sequence

from ledlocal.evals.arm import Arm
from ledlocal.evals.run_folder import Sample, Score
from ledlocal.evals.summary import Cell
from ledlocal.evals.task import Problem
from ledlocal.values.events import Finish

LED, CONTROL, STANDARD = Arm("led", 0.6, "control"), Arm("control", 0.6), Arm("standard", 0.6)
Grades = Sequence[Sequence[bool | None]]


def sample(problem: str, i: int, arm: Arm = LED, finish: Finish = "stop", thinking: int = 10, answer: int = 2,
           explored: int = 0, changed: int = 0) -> Sample:
    return Sample("t", problem, arm.method, arm.temperature, i, finish, "", 5, thinking, answer, explored, changed,
                  (explored - changed, changed), "hm", "so")


def score(problem: str, i: int, correct: bool | None, vote: str | None, arm: Arm = LED) -> Score:
    return Score("t", problem, arm.method, arm.temperature, i, "answer", correct, vote, "")


def problems(count: int) -> list[Problem]:
    return [Problem(f"{p}", f"question {p}", f"gold {p}", f"gold {p}") for p in range(count)]


def cell(grades: Grades, arm: Arm = LED, task: str = "t", asked: Sequence[Problem] = ()) -> Cell:
    """One problem per row of grades, all samples drawn."""
    asked = asked or problems(len(grades))
    ids = [(problem, list(enumerate(row))) for problem, row in zip(asked, grades, strict=True)]
    explored = int(arm.method.startswith("led"))
    return Cell(task, arm, tuple(tuple(sample(problem.id, i, arm, explored=explored) for i, _ in row)
                                 for problem, row in ids),
                tuple(tuple(score(problem.id, i, one, problem.gold if one else None, arm) for i, one in row)
                      for problem, row in ids),
                tuple(problem.gold for problem in asked), tuple(problem.question for problem in asked))
