"""What runs of several arms came to: means over training seeds with Student's intervals, differences seed by seed.

The seeds are those of reinforcement: all runs begin with one supervised model and are measured on the same problems, so
the intervals say how far another seed may lead, not another model or other problems.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from statistics import mean, stdev
from typing import Any

from scipy.stats import t

Json = Mapping[str, Any]


def _solved(run: Json, temperature: str, name: str) -> float:
    """NaN of more samples than were taken."""
    return 100 * float(run[temperature].get(name, [nan])[0])


MEASURES: dict[str, Callable[[Json], float]] = {
    "pass@1, T=0.6": lambda run: _solved(run, "T=0.6", "pass@1"),
    "pass@16, T=0.6": lambda run: _solved(run, "T=0.6", "pass@16"),
    "pass@1, T=1": lambda run: _solved(run, "T=1", "pass@1"),
    "pass@16, T=1": lambda run: _solved(run, "T=1", "pass@16"),
    "reward of its own last rollouts": lambda run: 100 * run["last reward"],
    "tokens of its own last rollouts": lambda run: run["last length"],
    "iterations": lambda run: run["iterations"],
    "minutes of sampling": lambda run: run["sampling minutes"],
}
"""Of one run; shares in percent."""


@dataclass(frozen=True, slots=True)
class Mean:
    """Over seeds, with half the width of its 95 % interval: NaN of a single seed."""

    value: float
    half: float

    def __str__(self) -> str:
        return f"{self.value:.1f} ± {self.half:.1f}"


def mean_of(values: Sequence[float]) -> Mean:
    """Student's interval for values that are drawn from one normal distribution. Raises ValueError without values."""
    n = len(values)
    if n == 1 or any(map(isnan, values)):
        return Mean(mean(values), nan)
    return Mean(mean(values), float(t.ppf(0.975, n - 1)) * stdev(values) / sqrt(n))


def table(runs: Sequence[Json]) -> str:
    """Markdown: every arm, and every two arms' differences over the seeds that both have."""
    arms: dict[str, dict[int, Json]] = {}
    for run in runs:
        arms.setdefault(run["arm"], {})[run["seed"]] = run
    rows = [[arm, str(len(own)), *(str(mean_of([*map(measure, own.values())])) for measure in MEASURES.values())]
            for arm, own in arms.items()]
    names = list(arms)
    for i, first in enumerate(names):
        for second in names[i + 1:]:
            if both := sorted(arms[first].keys() & arms[second].keys()):
                rows.append([f"{second} - {first}", str(len(both)), *(
                    str(mean_of([measure(arms[second][seed]) - measure(arms[first][seed]) for seed in both]))
                    for measure in MEASURES.values())])
    head = ["arm", "seeds", *MEASURES]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))
