"""Number puzzles: use each of three to five numbers once, with + - *, to make a target.

    Use 3, 7 and 12 to make 33.   ->   (3*7)+12=33

The embedded demo model was trained on seven eighths of them; these are of the eighth that it was never asked. It has
met their numbers with other targets, and so their solutions as failed tries.
"""

from __future__ import annotations

import ast
import hashlib
import operator
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from ledlocal.evals.task import Grade, Problem
from ledlocal.evals.wording import read, word

COUNTS = (3, 4, 5)
NUMBERS = range(1, 13)
TARGETS = range(10, 101)
VALUES = range(1, 151)
"""Of everything computed on the way of the known solution."""
PROBLEMS = 1000
_SEED = 1234
_OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_NODES = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
_EXPRESSION = re.compile(r"[0-9+*() -]{1,80}")


@dataclass(frozen=True, slots=True)
class Puzzle:
    """The task; its problems are drawn anew each time, always the same."""

    name: str = "puzzle"
    graded: bool = True

    def problems(self) -> Sequence[Problem]:
        """PROBLEMS different ones of the held-out part."""
        return tuple(islice(_draw(random.Random(_SEED)), PROBLEMS))

    def grade(self, problem: Problem, answer: str) -> Grade:
        """The last line is an expression with exactly the numbers of the puzzle, worth the target."""
        lines = answer.strip().splitlines()
        left, equals, right = (lines[-1] if lines else "").partition("=")
        value = evaluate(left)
        if value is None:
            return Grade(False, None)
        numbers, target = _parts(problem.id)
        correct = (value == target and (not equals or right.strip() == str(target))
                   and sorted(map(int, re.findall(r"\d+", left))) == numbers)
        return Grade(correct, problem.gold if correct else left.replace(" ", ""))


def _parts(problem_id: str) -> tuple[list[int], int]:
    """Sorted numbers and target of an id: 3-7-12=33."""
    numbers, target = problem_id.split("=")
    return [int(number) for number in numbers.split("-")], int(target)


def puzzle_in(text: str) -> Problem | None:
    """The problem that a message puts in one of the wordings; None if it is none. Its known answer is not told."""
    found = read(text)
    return found and Problem(name_of(*found), text, "", "")


def name_of(numbers: Sequence[int], target: int) -> str:
    """What a puzzle is called, whatever the order of its numbers: 3-7-12=33."""
    return f"{'-'.join(map(str, sorted(numbers)))}={target}"


def held_out(numbers: Sequence[int], target: int) -> bool:
    """Whether a puzzle belongs to the eighth that no model of this project is trained on (demo/)."""
    return hashlib.md5(f"{sorted(numbers)}->{target}".encode()).digest()[0] % 8 == 0


def evaluate(text: str) -> int | None:
    """The value of an expression of whole numbers, + - * and parentheses; None if it is anything else."""
    if not _EXPRESSION.fullmatch(text):
        return None
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError):
        return None


def _value(node: ast.expr) -> int:
    match node:
        case ast.BinOp(left, sign, right) if type(sign) in _NODES:
            return int(_NODES[type(sign)](_value(left), _value(right)))
        case ast.Constant(int() as value):
            return value
        case _:
            raise ValueError("not an expression of a puzzle")


def pose(rng: random.Random) -> tuple[list[int], int, str]:
    """A puzzle that can be solved: (numbers, target, a solution), of either part of the split."""
    while True:
        numbers = [rng.choice(NUMBERS) for _ in range(rng.choice(COUNTS))]
        solved = _combine(numbers, rng)
        if solved is not None and solved[0] in TARGETS and solved[0] not in numbers:
            return numbers, solved[0], f"{solved[1][1:-1]}={solved[0]}"


def _draw(rng: random.Random) -> Iterator[Problem]:
    seen: set[str] = set()
    while True:
        numbers, target, gold = pose(rng)
        name = name_of(numbers, target)
        if name not in seen and held_out(numbers, target):
            seen.add(name)
            yield Problem(name, word(numbers, target, rng), gold, gold)


def _combine(numbers: Sequence[int], rng: random.Random) -> tuple[int, str] | None:
    """A random expression with all numbers; None if something on its way is too large or not positive."""
    parts = [(number, str(number)) for number in numbers]
    while len(parts) > 1:
        (a, left), (b, right) = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
        sign = rng.choice(tuple(_OPERATORS))
        if sign == "-" and a < b:
            a, left, b, right = b, right, a, left
        value = _OPERATORS[sign](a, b)
        if value not in VALUES:
            return None
        parts.append((value, f"({left}{sign}{right})"))
    return parts[0]
