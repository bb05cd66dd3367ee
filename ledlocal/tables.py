"""Tables as plain text."""

from __future__ import annotations

from collections.abc import Iterator

Table = tuple[str, list[tuple[str, ...]]]
"""A title, and rows of words, the first one the names of the columns."""


def lines(tables: Iterator[Table]) -> Iterator[str]:
    """Tables as plain text, with an empty line between them."""
    for i, (title, rows) in enumerate(tables):
        if i:
            yield ""
        if title:
            yield title
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
