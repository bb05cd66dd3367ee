"""The tables of a run: rows of words, the first one the names of the columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ledlocal.evals.comparison import Alpha, Comparison
from ledlocal.statistics.interval import Estimate

Rows = list[tuple[str, ...]]


def summary_rows(summary: Mapping[str, Any]) -> Rows:
    """One per task, method and temperature."""
    n = summary["samples_per_problem"]
    head = ("task", "method", "T", "pass@1", *([f"pass@{n}", f"maj@{n}"] if n > 1 else []), "thinking", "answer",
            "explored", "changed", "cut", "not graded")
    rows: Rows = [head]
    for row in summary["rows"]:
        most = [_estimate(row["pass_at"][str(n)]), _estimate(row["maj_at"][str(n)])] if n > 1 else []
        rows.append((row["task"], row["method"], f"{row['temperature']:g}", _estimate(row["pass_at"]["1"]), *most,
                     _number(row["thinking_tokens"]), _number(row["answer_tokens"]), _share(row["explored_share"]),
                     _share(row["changed_share"]), str(row["truncated"]), str(row["not_graded"])))
    return rows


def comparison_rows(found: Sequence[Comparison]) -> Rows:
    """Differences; `*`: what the run was made for."""
    rows: Rows = [("task", "T", "method", "against", "measure", "difference in points", "p", "Holm", "verdict")]
    rows += [(one.task, f"{one.temperature:g}", f"{one.method}{' *' if one.primary else ''}", one.against, one.measure,
              points(one.difference), f"{one.p:.2g}", f"{one.adjusted:.2g}", one.verdict) for one in found]
    return rows


def alpha_rows(found: Sequence[Alpha]) -> Rows:
    """Slopes; no rows without any."""
    head = ("task", "method", "n", "alpha: points of pass@n per unit of temperature")
    return [head, *((one.task, one.method, str(one.n), points(one.slope)) for one in found)] if found else []


def points(one: Estimate) -> str:
    """A difference or slope in points of a hundred, with its interval."""
    value, low, high = (round(100 * x, 1) + 0.0 for x in (one.value, one.low, one.high))  # + 0.0: no negative zero
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def aligned(rows: Rows) -> Iterator[str]:
    """Lines of a plain table."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _estimate(value: Mapping[str, float | None]) -> str:
    if value["value"] is None:
        return "-"
    return f"{100 * value['value']:.1f} [{100 * (value['low'] or 0):.1f}, {100 * (value['high'] or 0):.1f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
