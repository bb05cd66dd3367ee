"""The paper's benchmarks, and files of one's own in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledlocal.digest import sha256_of
from ledlocal.evals import choice, mathematics
from ledlocal.evals.question_file import read_questions
from ledlocal.evals.task import Grade, Problem
from ledlocal.values.errors import BadInput


@dataclass(frozen=True, slots=True)
class Kind:
    """How questions are put and answers judged."""

    prompt: str
    solution: str
    """A right answer around the known one."""
    grade: Callable[[str, str], Grade]
    """Of the known answer and a text."""


KINDS = {
    "mathematics": Kind(mathematics.PROMPT, mathematics.SOLUTION, mathematics.grade),
    "choice": Kind(choice.PROMPT, choice.SOLUTION, choice.grade),
}


@dataclass(frozen=True, slots=True)
class Published:
    """A file of the authors' repository, AlbertTan404/LED at afe8352: the paper's wording and order."""

    sha256: str
    kind: str = "mathematics"
    """One of KINDS."""


PUBLISHED = {
    "gsm8k": Published("f7c5625d8118e758abb0c6ed3e1d6002d238c72ea4a835157488502443d65085"),
    "math500": Published("236bd0cc329ee3efaf045a150e6473e4f420e7e7e17051a4e77a1f2688599e63"),
    "aime2024": Published("ef02255e61539115f6274a0765ff10076df416db5f90d41500d472cb5184e560"),
    "aime2025": Published("b9d730eab85774f6ce5dbb30d813520fea8c0f543e8224bc4de853f65084477a"),
    "gpqa_diamond": Published("a24a0e376dcf6d1ea515ed6810c3918293406655ea760b6c2ab76e8b96af88da", "choice"),
}


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A task whose questions are in a file."""

    name: str
    path: Path
    kind: str = "mathematics"

    def problems(self) -> Sequence[Problem]:
        """Named by their place in the file."""
        kind = KINDS[self.kind]
        return tuple(Problem(f"{i:04}", kind.prompt.format(question=question), answer, kind.solution.format(answer))
                     for i, (question, answer) in enumerate(read_questions(self.path)))

    def grade(self, problem: Problem, answer: str) -> Grade:
        """By its kind; mathematics needs the extra `eval`."""
        return KINDS[self.kind].grade(problem.gold, answer)


def require_published(name: str, path: Path) -> None:
    """Raise BadInput unless a file is the published one."""
    digest = sha256_of(path)
    if digest != PUBLISHED[name].sha256:
        raise BadInput(f"{path}: this is not {name} as published: its SHA-256 is {digest}")
