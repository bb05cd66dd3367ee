"""The paper's benchmarks, and files of one's own in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ledlocal.evals import choice, code, mathematics
from ledlocal.evals.question_file import read_questions
from ledlocal.evals.task import Grade, Problem


def _worded(prompt: str, solution: str, path: Path) -> Sequence[Problem]:
    """Questions with short answers, named by their place in the file."""
    return tuple(Problem(f"{i:04}", prompt.format(question=question), answer, solution.format(answer))
                 for i, (question, answer) in enumerate(read_questions(path)))


@dataclass(frozen=True, slots=True)
class Kind:
    """How questions are put and answers judged."""

    problems: Callable[[Path], Sequence[Problem]]
    """Of a file, in its order. Raises BadInput naming file and place."""
    grade: Callable[[str, str], Grade]
    """Of the known answer and a text."""
    graded: bool = True
    """False: `grade` never knows, and there are no known answers to ask it for."""


KINDS = {
    "mathematics": Kind(partial(_worded, mathematics.PROMPT, mathematics.SOLUTION), mathematics.grade),
    "choice": Kind(partial(_worded, choice.PROMPT, choice.SOLUTION), choice.grade),
    "code": Kind(code.problems, code.grade, graded=False),
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
    "livecodebench": Published("3b90410091ab366f175775c908ec9576283bc5729ffc4d00fd2eca2705e8623d", "code"),
}


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A task whose questions are in a file."""

    name: str
    path: Path
    kind: str = "mathematics"

    @property
    def graded(self) -> bool:
        """Whether its answers can be judged; grading.require_sound is for those that can."""
        return KINDS[self.kind].graded

    def problems(self) -> Sequence[Problem]:
        """In the file's order, named by their place in it or by their own ids."""
        return KINDS[self.kind].problems(self.path)

    def grade(self, problem: Problem, answer: str) -> Grade:
        """By its kind; mathematics needs the extra `eval`."""
        return KINDS[self.kind].grade(problem.gold, answer)
