"""The tables of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from ledlocal.evals.comparison import Alpha, Comparison
from ledlocal.statistics.interval import Estimate
from ledlocal.tables import Table


def summary_tables(summary: Mapping[str, Any]) -> Iterator[Table]:
    """Of each task and temperature what was solved, and what it took."""
    n = summary["samples_per_problem"]
    for (task, temperature), group in groupby(summary["rows"], lambda row: (row["task"], row["temperature"])):
        rows = list(group)
        yield f"{task} at temperature {temperature:g}", [
            ("method", "problems", "pass@1", *([f"pass@{n}", f"maj@{n}"] if n > 1 else [])),
            *((row["method"], str(row["problems"]), _estimate(row["pass_at"]["1"]),
               *([_estimate(row["pass_at"][str(n)]), _estimate(row["maj_at"][str(n)])] if n > 1 else []))
              for row in rows)]
        yield "", [
            ("method", "thinking", "answer", "explored", "changed", "cut", "not graded"),
            *((row["method"], _number(row["thinking_tokens"]), _number(row["answer_tokens"]),
               _share(row["explored_share"]), _share(row["changed_share"]), str(row["truncated"]),
               str(row["not_graded"])) for row in rows)]


def comparison_tables(found: Sequence[Comparison]) -> Iterator[Table]:
    """Differences; `*`: what the run was made for."""
    for (task, temperature), group in groupby(found, lambda one: (one.task, one.temperature)):
        yield f"{task} at temperature {temperature:g}, in points", [
            ("difference", "measure", "problems", "points", "p", "Holm", "verdict"),
            *((f"{one.method} - {one.against}{' *' if one.primary else ''}", one.measure, str(one.problems),
               points(one.difference), f"{one.p:.2g}", f"{one.adjusted:.2g}", one.verdict) for one in group)]


def alpha_tables(found: Sequence[Alpha]) -> Iterator[Table]:
    """Slopes of the runs that have any."""
    for task, group in groupby(found, lambda one: one.task):
        yield f"{task}: alpha, points of pass@n per unit of temperature", [
            ("method", "n", "alpha"), *((one.method, str(one.n), points(one.slope)) for one in group)]


def points(one: Estimate) -> str:
    """A difference or slope in points of a hundred, with its interval."""
    value, low, high = (round(100 * x, 1) + 0.0 for x in (one.value, one.low, one.high))  # + 0.0: no negative zero
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _estimate(value: Mapping[str, float | None]) -> str:
    if value["value"] is None:
        return "-"
    return f"{100 * value['value']:.1f} [{100 * (value['low'] or 0):.1f}, {100 * (value['high'] or 0):.1f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
