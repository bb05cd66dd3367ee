"""Tries at a number puzzle, written out step by step, as the model's thoughts are: 12*3=36,36-7=29 no."""

from __future__ import annotations

import operator
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ledlocal.evals.puzzle import VALUES

YES, NO = "yes", "no"
MOST_TRIES = 14
"""Of one thought of the training documents."""
_NEAREST = 0.9
"""Share of tries whose last step comes as near to the target as its two numbers can."""
SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_STEP = re.compile(r"([0-9]{1,6})([-+*])([0-9]{1,6})=([0-9]{1,6})")


@dataclass(frozen=True, slots=True)
class Try:
    """One line of a thought without its verdict."""

    steps: str
    value: int
    expression: str
    """What was computed, as the answer writes it: (3*7)+12."""


def search(numbers: Sequence[int], target: int, rng: random.Random) -> Iterator[Try]:
    """Different tries, until one makes the target or nothing new comes to mind.

    Steps at random, but for nine of ten last ones, which come as near to the target as their two numbers can: which
    are worth taking is what reinforcement has to find out.
    """
    seen: set[str] = set()
    for _ in range(20 * MOST_TRIES):
        one = _try(numbers, target, rng)
        if one is None or (key := identity(one.steps)) in seen:
            continue
        seen.add(key)
        yield one
        if one.value == target:
            return


def identity(steps: str) -> str:
    """The same for tries that compute the same: the order of a sum's or a product's numbers is of no account,
    nor the order of independent steps."""
    return ",".join(sorted(_sorted_operands(step) for step in steps.split(",")))


@dataclass(frozen=True, slots=True)
class Reading:
    """What is true of a written line."""

    well_formed: bool
    """Steps and a verdict; every step takes numbers that are there, and none is left over."""
    arithmetic: bool
    """Every result is right."""
    value: int | None
    """The last result as it is written; None where no step is."""
    verdict: str | None


def read_line(line: str, numbers: Sequence[int]) -> Reading:
    """Check a line of a thought by itself, against the puzzle's numbers."""
    steps, _, verdict = line.rpartition(" ")
    if verdict not in (YES, NO):
        return Reading(False, True, None, None)
    left = Counter(numbers)
    arithmetic, value = True, None
    for text in steps.split(","):
        step = _STEP.fullmatch(text)
        if step is None:
            return Reading(False, arithmetic, value, verdict)
        a, sign, b, value = int(step[1]), step[2], int(step[3]), int(step[4])
        arithmetic &= SIGNS[sign](a, b) == value
        left.subtract((a, b))
        if min(left[a], left[b]) < 0:
            return Reading(False, arithmetic, value, verdict)
        left[value] += 1
    return Reading(left.total() == 1, arithmetic, value, verdict)


def _try(numbers: Sequence[int], target: int, rng: random.Random) -> Try | None:
    parts = [(number, str(number)) for number in numbers]
    rng.shuffle(parts)
    steps = []
    while len(parts) > 1:
        (a, left), (b, right) = sorted((parts.pop(), parts.pop()), key=lambda part: -part[0])
        results = {sign: SIGNS[sign](a, b) for sign in SIGNS if SIGNS[sign](a, b) in VALUES}
        if not results:
            return None
        if not parts and rng.random() < _NEAREST:
            nearest = min(abs(value - target) for value in results.values())
            results = {sign: value for sign, value in results.items() if abs(value - target) == nearest}
        sign, value = rng.choice(list(results.items()))
        steps.append(f"{a}{sign}{b}={value}")
        parts.append((value, f"({left}{sign}{right})"))
        rng.shuffle(parts)
    return Try(",".join(steps), parts[0][0], parts[0][1][1:-1])


def _sorted_operands(step: str) -> str:
    found = _STEP.fullmatch(step)
    if found is None or found[2] == "-":
        return step
    a, b = sorted((int(found[1]), int(found[3])))
    return f"{a}{found[2]}{b}={found[4]}"
