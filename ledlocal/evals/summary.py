"""The numbers of a run, from its samples and their scores: the same bytes whatever order they came in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledlocal.evals.arm import Arm
from ledlocal.evals.plan import Plan
from ledlocal.evals.run_folder import Key, Sample, Score
from ledlocal.evals.task import Problems
from ledlocal.statistics.interval import Estimate, estimate
from ledlocal.statistics.pass_at_k import majority_at_k, pass_at_k


@dataclass(frozen=True, slots=True)
class Cell:
    """All samples of one method on one task, problem by problem; none of a problem that lacks some yet.

    Short replies come first: the samples of half a problem are not a fair half.
    """

    task: str
    arm: Arm
    samples: tuple[tuple[Sample, ...], ...]
    """(P, n or 0), in the order of the problems and of the samples."""
    scores: tuple[tuple[Score, ...], ...]
    """The same places."""
    gold: tuple[str, ...]
    questions: tuple[str, ...]
    """(P,) as they were put: what makes problems the same."""

    @property
    def correct(self) -> NDArray[np.int64]:
        """(P,) correct samples."""
        return np.array([sum(score.correct is True for score in scores) for scores in self.scores], np.int64)

    @property
    def complete(self) -> bool:
        """Every problem has all samples."""
        return all(self.samples)

    @property
    def explored(self) -> int:
        """Tokens, of all samples."""
        return sum(sample.explored for row in self.samples for sample in row)

    @property
    def graded(self) -> NDArray[np.int64]:
        """(P,) samples that have a grade."""
        return np.array([sum(score.correct is not None for score in scores) for scores in self.scores], np.int64)

    def pass_at(self, k: int) -> NDArray[np.float64]:
        """(P,) unbiased pass@k; NaN where fewer than k samples have a grade."""
        return pass_at_k(self.correct, self.graded, k)


def cells(plan: Plan, problems: Problems, samples: Mapping[Key, Sample], scores: Mapping[Key, Score]) -> list[Cell]:
    """One per task and arm, in the plan's order."""
    found = []
    for task, asked in problems.items():
        for arm in plan.arms:
            keys = [[Key(task, problem.id, arm.method, arm.temperature, i) for i in range(plan.samples)]
                    for problem in asked]
            keys = [row if all(key in samples and key in scores for key in row) else [] for row in keys]
            found.append(Cell(task, arm, tuple(tuple(samples[key] for key in row) for row in keys),
                              tuple(tuple(scores[key] for key in row) for row in keys),
                              tuple(problem.gold for problem in asked), tuple(problem.question for problem in asked)))
    return found


def row_of(cell: Cell, n: int) -> dict[str, Any]:
    """The line of summary.json for one method on one task."""
    samples = [sample for row in cell.samples for sample in row]
    ran = [sample for sample in samples if sample.prompt_tokens]  # a prompt that did not fit says nothing of lengths
    scores = [score for row in cell.scores for score in row]
    in_scope = sum(sample.thinking_tokens for sample in samples)  # thinking always is
    if cell.arm.sampling(None)[1].led.scope == "all":
        in_scope += sum(sample.answer_tokens for sample in samples)
    return {
        "task": cell.task, "method": cell.arm.method, "temperature": cell.arm.temperature,
        "control": cell.arm.control or None,
        "problems": sum(map(bool, cell.samples)), "samples": len(samples),
        "pass_at": {str(k): _of(estimate(cell.pass_at(k))) for k in range(1, n + 1)},
        "maj_at": {str(k): _of(estimate(_majority(cell, k))) for k in powers(n)},
        "max_over_first": {str(k): _mean(_first(cell, k)) for k in range(1, n + 1)},
        "thinking_tokens": _mean([sample.thinking_tokens for sample in ran]),
        "answer_tokens": _mean([sample.answer_tokens for sample in ran]),
        "truncated": sum(sample.finish == "length" for sample in samples),
        "not_graded": sum(score.correct is None for score in scores),
        "explored_share": _share(cell.explored, in_scope),
        "changed_share": _share(sum(sample.changed for sample in samples), in_scope),
    }


def summary_of(plan: Plan, found: Sequence[Cell]) -> dict[str, Any]:
    """The content of summary.json. Numbers that there are none of are null."""
    gradings = sorted({score.grading for cell in found for row in cell.scores for score in row})
    return {"grading": " and ".join(gradings) or plan.grading, "samples_per_problem": plan.samples,
            "complete": all(cell.complete for cell in found),
            "rows": [row_of(cell, plan.samples) for cell in found]}


def to_text(summary: Mapping[str, Any]) -> str:
    """summary.json."""
    return json.dumps(summary, indent=1, allow_nan=False) + "\n"


def powers(n: int) -> list[int]:
    """1, 2, 4, ... and n itself."""
    return sorted({2**i for i in range(n.bit_length())} | {n})


def _majority(cell: Cell, k: int) -> NDArray[np.float64]:
    """(P,) chance that most of k graded samples give the known answer; NaN with fewer."""
    return np.array([majority_at_k([score.vote for score in row if score.correct is not None], gold, k)
                     for row, gold in zip(cell.scores, cell.gold, strict=True)])


def _first(cell: Cell, k: int) -> list[bool]:
    """The paper's number: whether one of the first k graded samples is right; of problems that have as many."""
    graded = [[score.correct for score in row if score.correct is not None] for row in cell.scores]
    return [any(row[:k]) for row in graded if len(row) >= k]


def _of(one: Estimate) -> dict[str, float | None]:
    return {name: number(getattr(one, name)) for name in ("value", "low", "high")}


def number(value: float) -> float | None:
    """As JSON has it: no NaN."""
    return None if math.isnan(value) else float(value)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
