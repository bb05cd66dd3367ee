"""Whether methods differ on the same problems: paired differences, with everything that was compared counted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ledlocal.evals.plan import Plan, Primary
from ledlocal.evals.summary import Cell, number, powers
from ledlocal.statistics.interval import Estimate, estimate, slopes
from ledlocal.statistics.paired import Verdict, holm, mcnemar, sign_flip, verdict
from ledlocal.values.errors import BadInput

MARGIN = 0.02
"""Differences within it are no difference to a user; two points."""
Silence = Literal["nothing explored", "nothing solved", "everything solved"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`method` minus `against`, over the problems that both have all samples of."""

    task: str
    temperature: float
    method: str
    against: str
    measure: str
    """pass@1, or pass@n."""
    primary: bool
    """What the run was made for, as its run.toml says."""
    silent: Silence | None
    """Why the difference says nothing, whatever it is: an LED variant against its control explored no token, or no
    problem, or every one, is solved by both in all samples."""
    problems: int
    differing: int
    """Problems on which the two differ."""
    difference: Estimate
    p: float
    adjusted: float
    """p by Holm's method over all comparisons."""
    verdict: Verdict | Silence


@dataclass(frozen=True, slots=True)
class Alpha:
    """The paper's alpha: the slope of pass@n against the temperature."""

    task: str
    method: str
    n: int
    slope: Estimate


def within(plan: Plan, cells: Sequence[Cell], margin: float = MARGIN) -> list[Comparison]:
    """Of one run: every LED variant with its control, every method with the first standard one, and every other LED
    variant with the first one."""
    primary = set(plan.primary)
    found: list[Comparison] = []
    for cell in cells:
        beside = {other.arm.method: other for other in cells
                  if (other.task, other.arm.temperature) == (cell.task, cell.arm.temperature)}
        standard, led = (next((name for name in beside if name.partition(":")[0] == kind), "")
                         for kind in ("standard", "led"))
        explores = cell.arm.method.partition(":")[0] == "led"
        for name in dict.fromkeys((cell.arm.control, standard, *([led] if explores else []))):
            if name in beside and name != cell.arm.method:
                for one in _compared(cell, beside[name], name, plan.samples):
                    idle = name == cell.arm.control and not cell.explored
                    found.append(replace(one, silent="nothing explored" if idle else one.silent,
                                         primary=_primary(one) in primary))
    return judged(found, margin)


def between(first: Sequence[Cell], second: Sequence[Cell], n: int, names: tuple[str, str],
            margin: float = MARGIN) -> list[Comparison]:
    """Every method of one run with the same method of another.

    Raises BadInput if nothing is in both, or if they were judged in different ways.
    """
    gradings = [sorted({score.grading for cell in cells for row in cell.scores for score in row})
                for cells in (first, second)]
    if gradings[0] != gradings[1]:
        raise BadInput(f"{names[0]} is judged by {' and '.join(gradings[0]) or 'nothing'}, {names[1]} by "
                       f"{' and '.join(gradings[1]) or 'nothing'}; `ledlocal grade` makes them alike")
    known = {(cell.task, cell.arm.method, cell.arm.temperature): cell for cell in second}
    found: list[Comparison] = []
    for cell in first:
        other = known.get((cell.task, cell.arm.method, cell.arm.temperature))
        if other is not None:
            found += [replace(one, method=f"{names[0]}: {one.method}")
                      for one in _compared(cell, other, f"{names[1]}: {other.arm.method}", n)]
    if not found:
        raise BadInput(f"{names[0]} and {names[1]} have no task with a common method and temperature")
    return judged(found, margin)


def judged(found: Iterable[Comparison], margin: float) -> list[Comparison]:
    """With p adjusted over all of them, and the verdict that follows."""
    every = list(found)
    adjusted = holm([one.p for one in every])
    return [replace(one, adjusted=float(p), verdict=one.silent or
                    verdict(one.difference, float(p), one.differing, margin))
            for one, p in zip(every, adjusted, strict=True)]


def _silence(mine: NDArray[np.float64], theirs: NDArray[np.float64]) -> Silence | None:
    if not mine.any() and not theirs.any():
        return "nothing solved"
    return "everything solved" if mine.all() and theirs.all() and np.ptp([mine, theirs]) == 0 else None


def to_text(found: Sequence[Comparison], slopes: Sequence[Alpha], margin: float) -> str:
    """One JSON object. Numbers that there are none of are null."""
    return json.dumps(_finite({"margin": margin, "comparisons": [asdict(one) for one in found],
                               "alpha": [asdict(one) for one in slopes]}), allow_nan=False)


def _finite(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_finite(value) for value in tree]
    return number(tree) if isinstance(tree, float) else tree


def _primary(one: Comparison) -> Primary:
    return Primary(one.task, one.temperature, one.method, one.against, one.measure)


def alphas(cells: Sequence[Cell], n: int) -> Iterator[Alpha]:
    """For every method that was sampled at two temperatures or more."""
    for task, method in dict.fromkeys((cell.task, cell.arm.method) for cell in cells):
        mine = sorted((cell for cell in cells if (cell.task, cell.arm.method) == (task, method)),
                      key=lambda cell: cell.arm.temperature)
        at = [cell.arm.temperature for cell in mine]
        if len(at) > 1:
            yield from (Alpha(task, method, k, _slope([cell.pass_at(k) for cell in mine], at)) for k in powers(n))


def _slope(values: Sequence[NDArray[np.float64]], at: Sequence[float]) -> Estimate:
    weights = slopes(np.eye(len(at)), at)  # of the values, which lie between 0 and 1
    steepest = float(weights[weights > 0].sum())
    return estimate(slopes(np.stack(values, axis=1), at), -steepest, steepest)


def _compared(cell: Cell, other: Cell, against: str, n: int) -> Iterator[Comparison]:
    if (cell.questions, cell.gold) != (other.questions, other.gold):
        raise BadInput(f"{cell.task}: the two runs do not ask the same problems")
    for k in dict.fromkeys((1, n)):
        mine, theirs = cell.pass_at(k), other.pass_at(k)
        both = ~np.isnan(mine) & ~np.isnan(theirs)
        mine, theirs = mine[both], theirs[both]
        if not len(mine):
            continue
        # with all samples drawn a problem is solved or not
        p = mcnemar(mine > 0.5, theirs > 0.5) if k == n > 1 else sign_flip(mine - theirs)
        difference = estimate(mine - theirs, -1, 1)
        yield Comparison(cell.task, cell.arm.temperature, cell.arm.method, against, f"pass@{k}", False,
                         _silence(mine, theirs), len(mine), int((mine != theirs).sum()), difference, p, p,
                         "no difference shown")
