"""What a reply to a puzzle is worth, and what its thought is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from demo.document import END_THINK, END_TURN, GAVE_UP, THINK, Question
from demo.puzzle import name_of
from demo.search import YES, identity, read_line
from demo.tokenizer import Tokenizer
from ledlocal.evals.puzzle import Puzzle
from ledlocal.evals.task import Problem


class Outcome(Enum):
    """How a reply ends; the value is its reward."""

    SOLVED = 1.0
    GAVE_UP = -0.3
    """As much as one and a half tries at fault, or searching on would not pay."""
    UNFINISHED = -0.5
    """Cut off."""
    FALSE = -0.8
    """An answer that is wrong, or none at all: worse than giving up, or every hopeless search would end in a claim."""


@dataclass(slots=True)
class Judgement:
    """One reply's outcome and what its thought is made of."""

    outcome: Outcome
    tries: int = 0
    malformed: int = 0
    """Tries that are no steps with a verdict, or use what is not there."""
    wrong_arithmetic: int = 0
    """Tries with a wrong result."""
    wrong_verdict: int = 0
    false_yes: int = 0
    repeated: int = 0
    failed: list[int] = field(default_factory=list)
    """Of every token: how many tries had come to "no" before its own began."""
    faults: list[int] = field(default_factory=lambda: [0])
    """Behind 0, 1, ... failed tries: how many tries at fault were made there."""
    choices: list[bool] = field(default_factory=list)
    """Of every token: an operand or a sign of a try, which nothing before it determines."""


def judge(asked: Question, tokens: Sequence[int], tokenizer: Tokenizer) -> Judgement:
    """Read a reply as it was sampled."""
    pieces = [tokenizer.bytes(token).decode("utf-8", "replace") for token in tokens]
    verdict = Judgement(Outcome.FALSE, choices=[False] * len(pieces), failed=[0] * len(pieces))
    end = pieces.index(END_THINK) if END_THINK in pieces else len(pieces)
    begin = 2 if pieces[:2] == [THINK, "\n"] else 0
    _judge_thought(asked, pieces, begin, end, verdict)
    answer = "".join(pieces[end + 1:])
    if not answer.endswith(END_TURN) or answer.count(END_TURN) > 1:
        verdict.outcome = Outcome.UNFINISHED
        return verdict
    verdict.outcome = _outcome(asked, answer.removesuffix(END_TURN))
    return verdict


def _outcome(asked: Question, answer: str) -> Outcome:
    if answer == f"\n\n{GAVE_UP}":
        return Outcome.GAVE_UP
    puzzle = Problem(name_of(asked.numbers, asked.target), "", "", "")
    return Outcome.SOLVED if Puzzle().grade(puzzle, answer).correct else Outcome.FALSE


def _judge_thought(asked: Question, pieces: Sequence[str], begin: int, end: int, verdict: Judgement) -> None:
    seen: set[str] = set()
    found = False
    for first, last in _lines(pieces, begin, end):
        text = "".join(pieces[first:last])
        if not text.endswith("\n"):  # cut off
            continue
        reading = read_line(text.removesuffix("\n"), asked.numbers)
        key = identity(text.rpartition(" ")[0])
        wrong_verdict = reading.verdict is not None and (reading.verdict == YES) != (reading.value == asked.target)
        verdict.tries += 1
        verdict.malformed += not reading.well_formed
        verdict.wrong_arithmetic += not reading.arithmetic
        verdict.wrong_verdict += wrong_verdict
        verdict.false_yes += wrong_verdict and reading.verdict == YES
        verdict.repeated += key in seen
        verdict.faults[-1] += found or wrong_verdict or key in seen or not (reading.well_formed and reading.arithmetic)
        found |= reading.verdict == YES
        if not found:
            verdict.faults.append(0)
            verdict.failed[last:] = [len(verdict.faults) - 1] * (len(pieces) - last)
        seen.add(key)
        _mark_choices(pieces, first, last, verdict.choices)


def _lines(pieces: Sequence[str], begin: int, end: int) -> list[tuple[int, int]]:
    """(first, behind the last) token of each line of a thought."""
    lines, first = [], begin
    for i in range(begin, end):
        if pieces[i].endswith("\n") or i == end - 1:
            lines.append((first, i + 1))
            first = i + 1
    return lines


def _mark_choices(pieces: Sequence[str], first: int, last: int, choices: list[bool]) -> None:
    open_ = True
    for i in range(first, last):
        if pieces[i] == "=":
            open_ = False
        elif pieces[i] == ",":
            open_ = True
        else:
            choices[i] = open_
