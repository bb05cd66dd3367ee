"""The paper's benchmarks, and files of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledlocal.evals import choice, code, mathematics, words
from ledlocal.evals.question_file import Question, read_questions
from ledlocal.evals.task import Grade, Problem
from ledlocal.values.errors import BadInput

Judge = Callable[[str, str], Grade]
"""Of the known answer and a text."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How questions are put and answers judged."""

    judge: Judge
    prompt: str = mathematics.PROMPT
    """With {question} in it."""
    solution: str = mathematics.SOLUTION
    """With {} where the known answer belongs."""
    judge_whole: Judge | None = None
    """As the authors judge a whole completion, where that is not `judge`."""
    graded: bool = True
    """False: `judge` never knows, and there are no known answers to ask it for."""


_CHOICE = Kind(choice.grade, choice.PROMPT, choice.SOLUTION, choice.grade_whole)
KINDS = {"mathematics": Kind(mathematics.grade), "choice": _CHOICE, "code": Kind(code.grade, graded=False)}
"""Of published files, by what is in them."""
OWN = "own"
"""What is in a file of one's own: a question is of the kind that the file states, else of the one its answer shows."""
OWN_KINDS = {"mathematics": Kind(mathematics.grade), "text": Kind(words.grade), "choice": _CHOICE}
"""Of single questions: all that a file may state."""


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
    kind: str = OWN
    """OWN, or one of KINDS."""
    wording: str | None = None
    """How questions are put, with {question} in it; None: as their kind does."""
    grading: str = "answer"
    """Of what a judge reads: one of plan.GRADINGS."""

    def __post_init__(self) -> None:
        """Raises BadInput for a wording without a question, or where there is none to choose."""
        if self.wording is not None and "{question}" not in self.wording:
            raise BadInput("--wording needs {question} in it, where the question belongs")
        if self.wording is not None and self.kind == "code":
            raise BadInput(f"--wording: {self.name} words its own questions")

    @property
    def graded(self) -> bool:
        """Whether its answers can be judged; grading.require_sound is for those that can."""
        return self.kind == OWN or KINDS[self.kind].graded

    def problems(self) -> Sequence[Problem]:
        """In the file's order, named by their place in it or by their own ids. Raises BadInput naming the place."""
        if self.kind == "code":
            return code.problems(self.path)
        return tuple(self.problem(f"{i:04}", question) for i, question in enumerate(read_questions(self.path)))

    def grade(self, problem: Problem, answer: str) -> Grade:
        """By its kind, against each known answer; mathematics needs the extra `eval`."""
        kind = self._kind(self._name_of_kind(problem.kind, (problem.gold, *problem.also)))
        judge = kind.judge_whole if kind.judge_whole and self.grading == "paper" else kind.judge
        grade = judge(problem.gold, answer)
        if not grade.correct and any(judge(other, answer).correct for other in problem.also):
            return Grade(True, problem.gold)
        return grade

    def problem(self, name: str, question: Question) -> Problem:
        """A question as it is put and judged."""
        named = self._name_of_kind(question.kind, question.answers)
        kind, (gold, *also) = self._kind(named), question.answers
        asked = (self.wording or kind.prompt).replace("{question}", question.text)
        return Problem(name, asked, gold, kind.solution.format(gold), named, tuple(also))

    def _name_of_kind(self, stated: str, answers: Sequence[str]) -> str:
        """One of OWN_KINDS; empty: the benchmark's own."""
        if stated or self.kind != OWN:
            return stated
        return "mathematics" if all(map(mathematics.is_mathematics, answers)) else "text"

    def _kind(self, named: str) -> Kind:
        return OWN_KINDS[named] if named else KINDS[self.kind]
