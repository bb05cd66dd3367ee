"""The tasks of reasoning-gym, by name: gym:countdown, gym:sudoku, gym:syllogism, ...

The library draws the problems and scores the answers. Both are part of its release, which is why the extra pins it.
"""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from ledlocal.evals.task import Grade, Problem
from ledlocal.values.errors import BadInput

PREFIX = "gym:"
PROBLEMS = 100
"""Drawn for each task: the slowest, futoshiki, needs a minute for them."""
SEED = 1234
INSTRUCTION = "{}\n\nPut your final answer, and nothing else, between <answer> and </answer>."
SOLUTION = "<answer>{}</answer>"
RIGHT = 1 - 1e-9
"""Scores above it: all graders give 1 for what is right and less for what is partly right (1 - 1e-8 for a time of day
that is off by a millisecond); the rest is for the last bits of exp(-distance)."""

_DRAWN_ANEW = "it draws other problems, or other known answers, in each process"
REFUSED = {
    "boxnet": "it knows no right answer",
    "codeio": "it runs programs from the web, which write files, to draw its problems",
    "composite": "it is made of other tasks",
    "game_of_life_halting": "its grader takes every answer",
    "intermediate_integration": _DRAWN_ANEW,
    "isomorphic_strings": _DRAWN_ANEW,
    "knight_swap": _DRAWN_ANEW,
    "list_functions": _DRAWN_ANEW,
    "polynomial_multiplication": _DRAWN_ANEW,
    "puzzle24": "its grader takes the answer to any of its problems for every other",
    "ransom_note": _DRAWN_ANEW,
    "rush_hour": "it knows no right answer",
    "word_ladder": _DRAWN_ANEW,
}
"""Tasks that cannot be run, and why. Those that are drawn anew depend on the order of Python's sets or on a generator
without a seed."""

_GOLDS: dict[str, Callable[[Any], str]] = {
    "graph_color": lambda metadata: json.dumps(metadata["possible_answer"]),
    "propositional_logic": lambda metadata: str(metadata["example_answer"]),
    "rubiks_cube": lambda metadata: str(metadata["example_correct_answer"]),
}
"""Known answers of tasks that keep them elsewhere, since there are many."""

_FORMS = {
    "binary_matrix": re.compile(r"[0-9\s]+"),
    "complex_arithmetic": re.compile(r"[0-9+\-*.()ij\s]+", re.IGNORECASE),
    "countdown": re.compile(r"[0-9+\-*/().\s]+"),
    "n_queens": re.compile(r"[Q_\s]+"),
    "simple_integration": re.compile(r"(?:[0-9+\-*/().\s]|\b[A-Za-z]\b)+"),
    "spiral_matrix": re.compile(r"[0-9\s]+"),
    "string_insertion": re.compile(r"[A-Z]+"),
}
"""What the graders of these tasks may be given. They evaluate an answer as Python, with all that it could call, or take
nan for every number; no right answer has another form."""

_UNREADABLE = (ValueError, LookupError, TypeError, SyntaxError, ArithmeticError, AttributeError, AssertionError)
"""What their parsers raise at an answer in a form that they did not expect. Other errors are not the answer's fault:
such a sample is not graded."""


@dataclass(frozen=True, slots=True)
class Gym:
    """One of gym_names()."""

    task: str
    """Without the prefix."""
    size: int = PROBLEMS
    graded: bool = True

    @property
    def name(self) -> str:
        """As the command line has it."""
        return PREFIX + self.task

    def problems(self) -> Sequence[Problem]:
        """As many as are drawn, each question once. Another size may draw other ones.

        Raises BadInput for a name that is none of gym_names(), or without the extra `gym`.
        """
        _require(self.task)
        found: dict[str, Problem] = {}
        for i in range(self.size):
            entry = _entry(self.task, self.size, i)
            question, gold = INSTRUCTION.format(entry["question"]), _gold(self.task, entry)
            found.setdefault(question, Problem(f"{i:04}", question, gold, SOLUTION.format(gold)))
        return tuple(found.values())

    def grade(self, problem: Problem, answer: str) -> Grade:
        """What is in the last <answer>, by the task's own score_answer; see RIGHT."""
        before, _, _ = answer.rpartition("</answer>")
        _, _, said = before.rpartition("<answer>")
        said = said.strip()
        if not said:
            return Grade(False, None)
        try:
            correct = _score(self, int(problem.id), said) > RIGHT
        except _UNREADABLE as error:
            return Grade(False, said, f"not in a form that {self.name} reads: {type(error).__name__}: {error}")
        return Grade(correct, problem.gold if correct else said)


def gym_names() -> Sequence[str]:
    """Names behind gym:, sorted, without those that are REFUSED. Raises BadInput without the extra `gym`."""
    return sorted(_datasets().keys() - REFUSED.keys())


def _require(task: str) -> None:
    names = gym_names()
    if task in REFUSED:
        raise BadInput(f"{PREFIX}{task} cannot be run: {REFUSED[task]}")
    if task not in names:
        near = get_close_matches(task, names)
        raise BadInput(f"{PREFIX}{task}: no such task" + (f"; did you mean {', '.join(near)}?" if near else ""))


@cache
def _datasets() -> Any:
    """The library's own table of tasks."""
    try:
        with _quiet():
            from reasoning_gym.factory import DATASETS
    except ImportError:
        raise BadInput("tasks of reasoning-gym need the extra `gym`: pip install 'ledlocal[gym]'") from None
    return DATASETS


@cache
def _dataset(task: str, size: int) -> Any:
    made, settings = _datasets()[task]
    with _quiet():
        return made(config=settings(size=size, seed=SEED))


@cache
def _entry(task: str, size: int, i: int) -> Any:
    """Question, answer and metadata; the same in whatever order they are drawn."""
    with _quiet():
        return _dataset(task, size)[i]


def _gold(task: str, entry: Any) -> str:
    return (_GOLDS[task](entry["metadata"]) if task in _GOLDS else str(entry["answer"])).strip()


def _score(gym: Gym, i: int, said: str) -> float:
    """0 ... 1."""
    form = _FORMS.get(gym.task)
    if form is not None and not form.fullmatch(said):
        return 0.0
    with _quiet():
        return float(_dataset(gym.task, gym.size).score_answer(said, deepcopy(_entry(gym.task, gym.size, i))))


@contextmanager
def _quiet() -> Iterator[None]:
    """The library prints and warns while it draws and scores."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
