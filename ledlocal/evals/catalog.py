"""Tasks by the name that a user gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ledlocal.evals.benchmark import PUBLISHED, Benchmark
from ledlocal.evals.dataset import path_of
from ledlocal.evals.gym import PREFIX, Gym
from ledlocal.evals.puzzle import Puzzle
from ledlocal.evals.task import Problem, Task
from ledlocal.values.errors import BadInput

PUZZLE = "puzzle"


def task_of(name: str, data: Mapping[str, Path]) -> Task:
    """The task `name`; `data`: files in the place of published ones, or of tasks of one's own.

    Raises BadInput for a name that is no task, or whose questions are missing.
    """
    if name in data and (name == PUZZLE or name.startswith(PREFIX)):
        raise BadInput(f"--data {data[name]}: {name} makes its own problems; another name is given as NAME=FILE")
    if name in data:
        return Benchmark(name, data[name], kind_of(name))
    if name in PUBLISHED:
        return Benchmark(name, path_of(name), kind_of(name))
    return _generated(name)


def judge_of(name: str) -> Task:
    """The same for judging alone: questions of a file may be gone."""
    return _generated(name) if name == PUZZLE or name.startswith(PREFIX) else Benchmark(name, Path(), kind_of(name))


def kind_of(name: str) -> str:
    """One of KINDS: files of one's own hold mathematics."""
    return PUBLISHED[name].kind if name in PUBLISHED else "mathematics"


def _generated(name: str) -> Task:
    if name == PUZZLE:
        return Puzzle()
    if name.startswith(PREFIX):
        return Gym(name.removeprefix(PREFIX))
    raise BadInput(f"there is no task {name!r}; there are {', '.join([PUZZLE, *PUBLISHED])}, {PREFIX}NAME, and "
                   "--data FILE")


def data_sha256(problems: Sequence[Problem]) -> str:
    """SHA-256 of questions and known answers, whatever they came from."""
    text = json.dumps([[problem.id, problem.question, problem.gold] for problem in problems])
    return hashlib.sha256(text.encode()).hexdigest()
