"""Tasks by the name that a user gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ledlocal.evals.benchmark import PUBLISHED, Benchmark
from ledlocal.evals.puzzle import Puzzle
from ledlocal.evals.task import Problem, Task
from ledlocal.values.errors import BadInput

PUZZLE = "puzzle"


def task_of(name: str, data: Mapping[str, Path]) -> Task:
    """The task `name`; `data`: files in the place of published ones, or of tasks of one's own.

    Raises BadInput for a name that is no task, or whose questions are missing.
    """
    if name in data:
        kind = PUBLISHED[name].kind if name in PUBLISHED else "mathematics"
        return Benchmark(name, data[name], kind)
    if name == PUZZLE:
        return Puzzle()
    raise BadInput(f"there is no task {name!r}; there are {', '.join([PUZZLE, *PUBLISHED])}, and --data FILE")


def data_sha256(problems: Sequence[Problem]) -> str:
    """SHA-256 of questions and known answers, whatever they came from."""
    text = json.dumps([[problem.id, problem.question, problem.gold] for problem in problems])
    return hashlib.sha256(text.encode()).hexdigest()
