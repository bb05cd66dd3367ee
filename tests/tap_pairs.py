"""Every pair of circumstances that a tap can meet, in as few cases as that takes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import combinations, product
from typing import Any

import numpy as np
from tiny_models import F16, F32, Q4_K, Q8_0
from tiny_recipes import RECIPES, UNTAPPABLE

from ledlocal.runtime.llama import Row

TAPPABLE = [architecture for architecture in RECIPES if architecture not in UNTAPPABLE]
SEQUENCES = 3


@dataclass(frozen=True)
class Case:
    """A model, and how it is decoded."""

    architecture: str
    head: int
    """Type of the output matrix."""
    tied: bool
    lora: bool
    """On the output matrix."""
    batch: str
    ubatch: int
    """Most tokens of a micro-batch."""
    unified: bool

    def __str__(self) -> str:
        flags = [name for name in ("tied", "lora", "unified") if getattr(self, name)]
        kind = {F32: "F32", F16: "F16", Q8_0: "Q8_0", Q4_K: "Q4_K"}[self.head]
        return "-".join([self.architecture, kind, self.batch, str(self.ubatch), *flags])

    def options(self) -> dict[str, Any]:
        """What a TinyModels call takes."""
        return {"head_type": self.head, "tied": self.tied, "n_embd": 256 if self.head == Q4_K else 64}

    def rng(self) -> np.random.Generator:
        """A generator of its own."""
        return np.random.default_rng(zlib.crc32(str(self).encode()))


FACTORS: tuple[tuple[Any, ...], ...] = (
    tuple(TAPPABLE), (F16, F32, Q8_0, Q4_K), (False, True), (False, True), ("prompt", "decode", "mixed"), (8, 512),
    (False, True))
"""Values of the fields of Case."""


def possible(case: Case) -> bool:
    """Whether these go together: phi2's output matrix is never the embedding, others' always.

    llama.cpp aborts on a LoRA of a matrix that is both: the embedding's factors are stored the other way round.
    """
    if case.tied:
        return case.architecture != "phi2" and not case.lora
    return not RECIPES[case.architecture].always_tied


def covering(cases: Sequence[Case]) -> list[Case]:
    """Those of the cases that hold every pair of two fields' values: always one that holds most of what is left.

    (allpairspy gives up pairs where a filter leaves few ways to hold them.)
    """
    rows = [[getattr(case, field.name) for field in fields(Case)] for case in cases]
    pairs = [set(combinations(enumerate(row), 2)) for row in rows]
    left, chosen = set().union(*pairs), []
    while left:
        best = max(range(len(cases)), key=lambda i: len(pairs[i] & left))
        chosen.append(cases[best])
        left -= pairs[best]
    return chosen


CASES = covering([case for values in product(*FACTORS) if possible(case := Case(*values))])


def batches(case: Case) -> tuple[list[list[Row]], list[Row]]:
    """Batches without outputs, and the one that is looked at; its tokens are all different."""
    rng = case.rng()
    tokens = iter(int(token) for token in rng.permutation(256))

    def rows(sequence: int, start: int, outputs: Sequence[bool]) -> list[Row]:
        return [Row(next(tokens), start + i, sequence, bool(output)) for i, output in enumerate(outputs)]

    if case.batch == "prompt":
        return [], rows(0, 0, [*(rng.random(20) < 0.4), True])
    lengths = [int(rng.integers(2, 6)) for _ in range(SEQUENCES)]
    running = range(SEQUENCES if case.batch == "decode" else 1)
    before = [rows(sequence, 0, [False] * lengths[sequence]) for sequence in running]
    now = [row for sequence in running for row in rows(sequence, lengths[sequence], [True])]
    if case.batch == "mixed":  # one sequence goes on, one begins with outputs in between, one is behind its last output
        now += rows(1, 0, [*(rng.random(9) < 0.4), True]) + rows(2, 0, [*(rng.random(7) < 0.4), False])
    return before, now
