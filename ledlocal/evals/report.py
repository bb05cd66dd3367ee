"""A run for reading: the table that is printed, and report.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ledlocal.evals.comparison import Alpha, Comparison
from ledlocal.statistics.interval import Estimate


def table_of(summary: Mapping[str, Any]) -> Iterator[str]:
    """Lines of a plain table: one per task, method and temperature."""
    n = summary["samples_per_problem"]
    head = ("task", "method", "T", "pass@1", *([f"pass@{n}", f"maj@{n}"] if n > 1 else []), "thinking", "answer",
            "explored", "changed", "cut", "not graded")
    rows = [head]
    for row in summary["rows"]:
        most = [_estimate(row["pass_at"][str(n)]), _estimate(row["maj_at"][str(n)])] if n > 1 else []
        rows.append((row["task"], row["method"], f"{row['temperature']:g}", _estimate(row["pass_at"]["1"]), *most,
                     _number(row["thinking_tokens"]), _number(row["answer_tokens"]), _share(row["explored_share"]),
                     _share(row["changed_share"]), str(row["truncated"]), str(row["not_graded"])))
    yield from _aligned(rows)


def comparison_table(found: Sequence[Comparison]) -> Iterator[str]:
    """Lines of a plain table of differences; `*`: what the run was made for."""
    rows = [("task", "T", "method", "against", "measure", "difference in points", "p", "Holm", "verdict")]
    rows += [(one.task, f"{one.temperature:g}", f"{one.method}{' *' if one.primary else ''}", one.against, one.measure,
              points(one.difference), f"{one.p:.2g}", f"{one.adjusted:.2g}", one.verdict) for one in found]
    yield from _aligned(rows)


def alpha_table(found: Sequence[Alpha]) -> Iterator[str]:
    """Lines of a plain table of slopes; nothing without any."""
    if found:
        yield from _aligned([("task", "method", "n", "alpha: points of pass@n per unit of temperature"), *(
            (one.task, one.method, str(one.n), points(one.slope)) for one in found)])


def points(one: Estimate) -> str:
    """A difference or slope in points of a hundred, with its interval."""
    return f"{100 * one.value:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
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
