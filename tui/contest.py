"""Two ways to answer one message: how they are named, where they part, and who was right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from ledlocal.evals.benchmark import OWN, Benchmark
from ledlocal.evals.grading import Grader
from ledlocal.evals.puzzle import Puzzle, puzzle_in
from ledlocal.evals.question_file import Question
from ledlocal.evals.task import Grade
from ledlocal.settings import Settings
from ledlocal.values.events import Token
from ledlocal.values.params import MethodName, require_choice


def variant(settings: Settings, words: str) -> Settings:
    """Settings changed as `led temp=1 d=4 norm=on` says, commas or spaces between. Raises BadInput."""
    name, *pairs = words.replace(":", " ", 1).replace(",", " ").split() or [""]
    require_choice("a method", name, get_args(MethodName))
    settings = settings.with_value("method", name)
    for pair in pairs:
        key, _, value = pair.partition("=")
        settings = settings.with_value(key, value)
    settings.request(None)
    return settings


def common_prefix(left: Sequence[Token], right: Sequence[Token]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((i for i, (a, b) in pairs if a.id != b.id), min(len(left), len(right)))


def yardstick(question: str, known: str) -> str:
    """What `judge` holds answers against, in words."""
    if known:
        return f"judged by the known answer {known}"
    return "judged by calculating" if puzzle_in(question) else "not judged: no right answer is known; type it above"


def judge(question: str, known: str, answers: Sequence[str]) -> list[Grade] | None:
    """What answers are worth; None if nothing is known of the right one. It may take seconds.

    A number puzzle is checked by calculating; else `known` is compared as `ledlocal eval` compares an answer of one's
    own. Raises BadInput without the extra `eval`.
    """
    if not known and (puzzle := puzzle_in(question)):
        return [Puzzle().grade(puzzle, answer) for answer in answers]
    if not known:
        return None
    task = Benchmark(OWN, Path(), OWN)
    problem = task.problem("known", Question(question, (known,)))
    with Grader() as grader:
        futures = [grader.submit(task, problem, answer) for answer in answers]
        return [grader.grade_of(future) for future in futures]
