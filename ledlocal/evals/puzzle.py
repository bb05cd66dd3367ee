"""Number puzzles: use each of three or four numbers once, with + - *, to make a target.

    Use 3, 7 and 12 to make 33.   ->   (3*7)+12=33

The embedded demo model was trained on seven eighths of them; these are of the eighth that it has never seen.
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

LARGEST = {3: 12, 4: 10}
"""Numbers of a puzzle -> the largest of them."""
TARGETS = range(10, 101)
VALUES = range(1, 151)
"""Of everything computed on the way of the known solution."""
PROBLEMS = 1000
_SEED = 1234
_WORDINGS = ("Use {words} to make {target}.", "Make {target} from {words}.", "Can you make {target} with {words}?",
             "Combine {commas} to get {target}.", "Numbers: {commas}. Target: {target}.",
             "Reach {target} using the numbers {words}.", "How can I get {target} from {words}?",
             "Using {words}, make {target}.")
_LIST = r"(?P<numbers>\d+(?:(?:,| and|, and) \d+)+)"
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
    for wording in _WORDINGS:
        parts = re.escape(wording).replace(r"\{words\}", _LIST).replace(r"\{commas\}", _LIST)
        if found := re.fullmatch(parts.replace(r"\{target\}", r"(?P<target>\d+)"), " ".join(text.split())):
            numbers = sorted(map(int, re.findall(r"\d+", found["numbers"])))
            return Problem(f"{'-'.join(map(str, numbers))}={found['target']}", text, "", "")
    return None


def held_out(numbers: Sequence[int], target: int) -> bool:
    """Whether a puzzle belongs to the eighth that no model of this project is trained on (demo/REPORT.md)."""
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


def _draw(rng: random.Random) -> Iterator[Problem]:
    seen: set[str] = set()
    while True:
        count = rng.choice(tuple(LARGEST))
        numbers = [rng.randint(1, LARGEST[count]) for _ in range(count)]
        solved = combine(numbers, rng)
        if solved is None or solved[0] not in TARGETS or solved[0] in numbers:
            continue
        target, solution = solved
        name = f"{'-'.join(map(str, sorted(numbers)))}={target}"
        if name in seen or not held_out(numbers, target):
            continue
        seen.add(name)
        *most, last = map(str, numbers)
        question = rng.choice(_WORDINGS).format(words=f"{', '.join(most)} and {last}", target=target,
                                                commas=", ".join((*most, last)))
        gold = f"{solution[1:-1]}={target}"
        yield Problem(name, question, gold, gold)


def combine(numbers: Sequence[int], rng: random.Random) -> tuple[int, str] | None:
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
