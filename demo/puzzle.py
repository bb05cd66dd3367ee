"""Number puzzles of three to five numbers, which the next embedded model solves; ledlocal's have three or four.

    Use 3, 7 and 12 to make 33.   ->   (3*7)+12=33

Grading, expressions and the held-out eighth are those of ledlocal.evals.puzzle.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from demo.wording import read, word
from ledlocal.evals.puzzle import PROBLEMS, TARGETS, combine, held_out
from ledlocal.evals.task import Problem

COUNTS = (3, 4, 5)
NUMBERS = range(1, 13)
_SEED = 1234


def problems() -> Sequence[Problem]:
    """PROBLEMS different ones of the held-out part, always the same."""
    return tuple(islice(_draw(random.Random(_SEED)), PROBLEMS))


def puzzle_in(text: str) -> Problem | None:
    """The problem that a message puts in one of the wordings; None if it is none. Its known answer is not told."""
    found = read(text)
    return found and Problem(name_of(*found), text, "", "")


def name_of(numbers: Sequence[int], target: int) -> str:
    """What a puzzle is called, whatever the order of its numbers: 3-7-12=33."""
    return f"{'-'.join(map(str, sorted(numbers)))}={target}"


def pose(rng: random.Random) -> tuple[list[int], int, str]:
    """A puzzle that can be solved: (numbers, target, a solution), of either part of the split."""
    while True:
        numbers = [rng.choice(NUMBERS) for _ in range(rng.choice(COUNTS))]
        solved = combine(numbers, rng)
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
