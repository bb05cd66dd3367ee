"""A run for reading: the table that is printed, and report.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


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
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
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
