"""Runs as rows: speeds, their spread, and ratios of runs of the same round. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median, quantiles
from typing import Any

from ledlocal.bench.contender import BARE, STANDARD
from ledlocal.bench.plan import Phase, Plan, Run
from ledlocal.statistics.median import MedianEstimate, median_estimate

NOISY = 0.05
"""Width of a ratio's interval from which on small differences cannot be told."""
LEAST_ROUNDS = 5
"""Fewer tell nothing: the interval of five holds the true ratio in 94 %, of four in 88 % of all measurements."""


@dataclass(frozen=True, slots=True)
class Row:
    """One contender at one batch size, in one phase, with one tap."""

    batch: int
    phase: Phase
    method: str
    tap: str
    """Of the engine that it is compared with."""
    asked: str
    """The tap that was asked for."""
    forced: bool
    """The coin was, so that it explores at a given share."""
    explore_rate: float | None
    """Share of its tokens that explored; None where no coin is tossed."""
    rounds: int
    tokens_per_s: float
    """Median over the rounds; all sequences together."""
    best_tokens_per_s: float
    seconds_per_step: float
    """Median; in the phase `prefill` until every sequence has its first token."""
    spread: float
    """Between the quartiles of the speeds, as a share of their median."""
    ratio_to_standard: MedianEstimate | None
    """Median of the rounds' own ratios of speeds; None where the other did not run."""
    ratio_to_bare: MedianEstimate | None

    @property
    def noisy(self) -> bool:
        """Too few rounds, or a ratio that is not known well enough to tell small differences."""
        return self.rounds < LEAST_ROUNDS or any(
            ratio.high - ratio.low > NOISY for ratio in (self.ratio_to_standard, self.ratio_to_bare) if ratio)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ratios as numbers, beside their intervals."""
        row = asdict(self)
        for name in ("ratio_to_standard", "ratio_to_bare"):
            ratio = row.pop(name)
            row[name] = ratio and ratio["value"]
            row[f"{name}_interval"] = ratio and [ratio["low"], ratio["high"]]
            row[f"{name}_coverage"] = ratio and ratio["coverage"]
        return row | {"noisy": self.noisy}


def rows_of(plan: Plan, runs: Sequence[Run], taps: Mapping[str, str]) -> Iterator[Row]:
    """Prefill first, then by tap, batch size and contender as planned.

    `taps`: what was opened for the one asked for.
    """
    grouped: dict[tuple[str, str, int, str], dict[int, Run]] = {}
    for run in runs:
        grouped.setdefault((run.phase, run.tap, run.batch, run.contender), {})[run.round] = run
    phases: tuple[Phase, ...] = ("prefill", "decode")
    for phase in phases:
        for tap in plan.taps:
            for batch in plan.batches:
                cell = {one.name: grouped[key] for one in plan.contenders
                        if (key := (phase, tap, batch, one.name)) in grouped}
                for contender in plan.contenders:
                    if contender.name in cell:
                        row = _row(cell, contender.name)
                        yield replace(row, tap=taps.get(tap, tap), forced=contender.share is not None)


def _row(cell: Mapping[str, Mapping[int, Run]], name: str) -> Row:
    runs = list(cell[name].values())
    speeds = [run.tokens / run.seconds for run in runs]
    steps = [run.seconds if run.phase == "prefill" else run.seconds * run.batch / run.tokens for run in runs]
    chosen = sum(run.chosen for run in runs)
    return Row(runs[0].batch, runs[0].phase, name, runs[0].tap, runs[0].tap, False,
               sum(run.explored for run in runs) / chosen if chosen else None, len(runs), median(speeds), max(speeds),
               median(steps), _spread(speeds), _ratio(cell, name, STANDARD), _ratio(cell, name, BARE))


def _spread(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    quarter, _, three_quarters = quantiles(values, n=4, method="inclusive")
    return (three_quarters - quarter) / median(values)


def _ratio(cell: Mapping[str, Mapping[int, Run]], name: str, to: str) -> MedianEstimate | None:
    if name == to or to not in cell:
        return None
    ours, theirs = cell[name], cell[to]
    ratios = [ours[i].tokens / ours[i].seconds * theirs[i].seconds / theirs[i].tokens for i in ours if i in theirs]
    return median_estimate(ratios) if ratios else None
