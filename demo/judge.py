"""What a reply to a puzzle is worth, and what its thought is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from demo.document import END_THINK, END_TURN, GAVE_UP, THINK, Question
from demo.search import SIGNS, YES, identity, read_line
from demo.tokenizer import Tokenizer
from ledlocal.evals.puzzle import Puzzle, name_of
from ledlocal.evals.task import Problem


class Outcome(Enum):
    """How a reply ends; the value is its reward."""

    SOLVED = 1.0
    GAVE_UP = 0.0
    UNFINISHED = -0.1
    """Cut off."""
    FALSE = -0.5
    """Another answer than the right one, or none: it costs more than giving up, or all searches end in it."""


@dataclass(slots=True)
class Judgement:
    """One reply's outcome and what its thought is made of."""

    outcome: Outcome
    tries: int = 0
    malformed: int = 0
    """Tries that are no steps with a verdict, or use what is not there, or leave something."""
    wrong_arithmetic: int = 0
    """Tries with a wrong result."""
    wrong_verdict: int = 0
    """Tries that make the target and are said not to, or the other way round."""
    false_yes: int = 0
    repeated: int = 0
    failed: list[int] = field(default_factory=list)
    """Of every token: how many tries without a "yes" had ended before its own began; none is counted behind a "yes"."""
    faults: int = 0
    """Tries with any of these, or behind one that was said to make the target."""
    at_fault: list[bool | None] = field(default_factory=list)
    """Of every token: whether its try is at fault. None outside of tries, and where the token only decides to go on."""
    choices: list[bool] = field(default_factory=list)
    """Of every token: an operand or a sign of a try, which nothing before it determines."""


def judge(asked: Question, tokens: Sequence[int], tokenizer: Tokenizer) -> Judgement:
    """Read a reply as it was sampled."""
    pieces = [tokenizer.bytes(token).decode("utf-8", "replace") for token in tokens]
    verdict = Judgement(Outcome.FALSE, choices=[False] * len(pieces), failed=[0] * len(pieces),
                        at_fault=[None] * len(pieces))
    end = pieces.index(END_THINK) if END_THINK in pieces else len(pieces)
    begin = 2 if pieces[:2] == [THINK, "\n"] else 0
    if not asked.expected:
        _judge_thought(asked, pieces, begin, end, verdict)
    answer = "".join(pieces[end + 1:])
    verdict.outcome = _outcome(asked, answer.removesuffix(END_TURN))
    if pieces[-1:] != [END_TURN]:
        verdict.outcome = Outcome.UNFINISHED
    return verdict


def _outcome(asked: Question, answer: str) -> Outcome:
    if asked.expected:
        return Outcome.SOLVED if answer == f"\n\n{asked.expected}" else Outcome.FALSE
    if answer == f"\n\n{GAVE_UP}":
        return Outcome.GAVE_UP
    puzzle = Problem(name_of(asked.numbers, asked.target), "", "", "")
    return Outcome.SOLVED if Puzzle().grade(puzzle, answer).correct else Outcome.FALSE


def _judge_thought(asked: Question, pieces: Sequence[str], begin: int, end: int, verdict: Judgement) -> None:
    seen: set[str] = set()
    found, failed = False, 0
    for first, last in _lines(pieces, begin, end):
        text = "".join(pieces[first:last])
        if not text.endswith("\n") and end == len(pieces):  # cut off
            continue
        reading = read_line(text.removesuffix("\n"), asked.numbers)
        well_formed = reading.well_formed and text.endswith("\n")
        made = well_formed and reading.arithmetic and reading.value == asked.target
        wrong_verdict = reading.verdict is not None and (reading.verdict == YES) != made
        key = identity(text.rpartition(" ")[0]) if well_formed else text
        verdict.tries += 1
        verdict.malformed += not well_formed
        verdict.wrong_arithmetic += not reading.arithmetic
        verdict.wrong_verdict += wrong_verdict
        verdict.false_yes += wrong_verdict and reading.verdict == YES
        verdict.repeated += key in seen
        fault = found or wrong_verdict or key in seen or not (well_formed and reading.arithmetic)
        blamed = first + (well_formed and not found)
        verdict.at_fault[blamed:last] = [fault] * (last - blamed)
        verdict.faults += fault
        found |= reading.verdict == YES
        failed += not found
        verdict.failed[last:] = [failed] * (len(pieces) - last)
        seen.add(key)
        if well_formed:
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
    """Of a well-formed line; the last step's operands are what is left, larger first: its sign alone is one."""
    last_step = max(i for i in range(first, last) if pieces[i] == ",")
    before_result = True
    for i in range(first, last):
        if pieces[i] in ("=", ","):
            before_result = pieces[i] == ","
        else:
            choices[i] = before_result and (i < last_step or pieces[i] in SIGNS)
