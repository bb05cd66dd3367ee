"""Numbers as text: sparklines and bars of block characters."""

from __future__ import annotations

from collections.abc import Sequence

_LEVELS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def sparkline(values: Sequence[float | None], top: float) -> str:
    """One character per value from 0 to `top`; a space where there is none."""
    return "".join(" " if value is None else _LEVELS[min(7, max(0, int(8 * value / top)))] if top > 0 else _LEVELS[0]
                   for value in values)


def bar(share: float, width: int) -> str:
    """A bar of up to `width` columns for a share from 0 to 1; what is more than nothing is seen."""
    eighths = round(8 * width * min(1.0, max(0.0, share)))
    if share > 0:
        eighths = max(1, eighths)
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
