"""Grades from processes that may be ended: what a model writes can keep a grader busy for ever, or crash it."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import redirect_stderr
from multiprocessing.resource_tracker import ensure_running
from typing import TYPE_CHECKING, Self

from ledlocal.evals.task import Grade, Problem, Task
from ledlocal.values.errors import BadInput

if TYPE_CHECKING:
    from pebble import ProcessPool

LIMIT_S = 20.0
MEMORY = 4 << 30
"""Bytes of address space of one grader."""


class Grader:
    """A pool of processes; a context manager."""

    def __init__(self, processes: int = 1, limit_s: float = LIMIT_S) -> None:
        """Raises BadInput without the extra `eval`."""
        try:
            from pebble import ProcessPool
        except ImportError:
            raise BadInput("grading needs the extra `eval`: pip install 'ledlocal[eval]'") from None
        self._limit_s = limit_s
        with redirect_stderr(sys.__stderr__):  # a terminal UI's has no descriptor that a process could inherit
            ensure_running()
        # not forked: this process has threads
        self._pool: ProcessPool = ProcessPool(processes, initializer=_limit_memory,
                                              context=multiprocessing.get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def submit(self, task: Task, problem: Problem, answer: str) -> Future[Grade]:
        """Grade an answer; `grade_of` the future. A pool that broke starts new processes by itself."""
        return self._pool.schedule(_grade, args=[task, problem, answer], timeout=self._limit_s)

    def grade_of(self, future: Future[Grade]) -> Grade:
        """Wait for it; an answer that could not be graded is neither right nor wrong."""
        from pebble import ProcessExpired

        try:
            return future.result()
        except TimeoutError:
            return Grade(None, None, f"no grade after {self._limit_s:g} s")
        except ProcessExpired:
            return Grade(None, None, "the grader's process died")
        except Exception as error:  # whatever the grader's library throws at this text
            return Grade(None, None, f"{type(error).__name__}: {error}")


def _limit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard), hard))


def _grade(task: Task, problem: Problem, answer: str) -> Grade:
    return task.grade(problem, answer)


def require_sound(grader: Grader, task: Task, problems: Sequence[Problem]) -> None:
    """Raise BadInput unless every known answer passes its own grader, and an empty one fails."""
    answers = [(problem, answer) for problem in problems for answer in (*problem.solutions, "")]
    futures = [grader.submit(task, problem, answer) for problem, answer in answers]
    for (problem, answer), future in zip(answers, futures, strict=True):
        grade = grader.grade_of(future)
        if grade.correct is not bool(answer):
            what = f"its own solution {answer!r}" if answer else "an empty answer"
            raise BadInput(f"{task.name} {problem.id}: {what} is graded {grade.correct}: {grade.reason or grade.vote}")
