"""Tasks by the name that a user gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ledlocal.digest import sha256_of
from ledlocal.evals.benchmark import OWN, PUBLISHED, Benchmark
from ledlocal.evals.dataset import path_of
from ledlocal.evals.gym import PREFIX, Gym
from ledlocal.evals.puzzle import Puzzle
from ledlocal.evals.task import Problem, Task
from ledlocal.values.errors import BadInput

PUZZLE = "puzzle"


def task_of(name: str, data: Mapping[str, Path], grading: str = "answer", wording: str | None = None) -> Task:
    """The task `name`; `data`: files in the place of published ones, or of tasks of one's own.

    `grading`: one of plan.GRADINGS; `wording`: how questions are put, with {question} in it. Raises BadInput for a name
    that is no task, or whose questions are missing, or are put in words of their own.
    """
    if name in data and (name == PUZZLE or name.startswith(PREFIX)):
        raise BadInput(f"--data {data[name]}: {name} makes its own problems; another name is given as NAME=FILE")
    if name in data or name in PUBLISHED:
        return Benchmark(name, data[name] if name in data else path_of(name), kind_of(name), wording, grading)
    task = _generated(name)
    if wording is not None:
        raise BadInput(f"--wording: {name} words its own questions")
    return task


def source_of(name: str, data: Mapping[str, Path]) -> str:
    """What a task's questions came from, in words."""
    if name not in data:
        return "as published" if name in PUBLISHED else "built in"
    published = name in PUBLISHED and sha256_of(data[name]) == PUBLISHED[name].sha256
    return f"{data[name]}, {'as published' if published else 'not the published ones' if name in PUBLISHED else 'own'}"


def judge_of(name: str, grading: str = "answer") -> Task:
    """The same for judging alone: questions of a file may be gone."""
    if name == PUZZLE or name.startswith(PREFIX):
        return _generated(name)
    return Benchmark(name, Path(), kind_of(name), grading=grading)


def kind_of(name: str) -> str:
    """What a benchmark's questions are."""
    return PUBLISHED[name].kind if name in PUBLISHED else OWN


def _generated(name: str) -> Task:
    if name == PUZZLE:
        return Puzzle()
    if name.startswith(PREFIX):
        return Gym(name.removeprefix(PREFIX))
    raise BadInput(f"there is no task {name!r}; there are {', '.join([PUZZLE, *PUBLISHED])}, {PREFIX}NAME, and "
                   "--data FILE")


def data_sha256(problems: Sequence[Problem]) -> str:
    """SHA-256 of questions and known answers, whatever they came from."""
    text = json.dumps([[problem.id, problem.question, problem.gold, *filter(None, (problem.kind, *problem.also))]
                       for problem in problems])
    return hashlib.sha256(text.encode()).hexdigest()
