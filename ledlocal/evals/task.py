"""What a model is asked, and how its answer is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with a known answer, or several."""

    id: str
    """Unique within its task and the same in every run."""
    question: str
    """The user's message, instructions included."""
    gold: str
    """The known answer, as its grader compares it."""
    solution: str
    """A whole answer that is right."""
    kind: str = ""
    """How this answer is compared, where a task has questions of several kinds; empty: as the task does."""
    also: tuple[str, ...] = ()
    """Other answers that are right."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "also", tuple(self.also))  # JSON has lists

    @property
    def solutions(self) -> Sequence[str]:
        """A whole answer that is right, for each known answer."""
        return [self.solution, *(other.join(self.solution.rsplit(self.gold, 1)) for other in self.also)]


@dataclass(frozen=True, slots=True)
class Grade:
    """What an answer is worth."""

    correct: bool | None
    """None: it could not be graded, which is not wrong."""
    vote: str | None
    """What it says, in a form in which equal answers are equal, all correct ones the gold answer; None: nothing."""
    reason: str = ""
    """Why it could not be graded, or why it is wrong where the answer alone does not show it."""


class Task(Protocol):
    """Problems of one kind and their grader."""

    @property
    def name(self) -> str:
        """As the command line has it."""

    @property
    def graded(self) -> bool:
        """Whether its answers can be judged at all."""

    def problems(self) -> Sequence[Problem]:
        """All of them, in an order that never changes. Raises BadInput where its data is missing or damaged."""

    def grade(self, problem: Problem, answer: str) -> Grade:
        """Judge the text behind the thinking."""


Asked = Mapping[str, tuple[Task, Sequence[Problem]]]
"""Tasks by name, each with the problems that a run asks."""
Problems = Mapping[str, Sequence[Problem]]
"""The same without the graders."""
