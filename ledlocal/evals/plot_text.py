"""pass@k as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from string import ascii_uppercase

import numpy as np
from wcwidth import wcswidth

from ledlocal.evals.plan import Plan
from ledlocal.evals.summary import Cell, powers
from ledlocal.safe_text import safe_line
from ledlocal.statistics.interval import Estimate, estimate
from ledlocal.values.errors import BadInput

HEIGHT, NARROWEST = 16, 24
"""Of a plot on a terminal, in lines and columns."""
MOST_TICKS = 9
_LETTERS = "ox+*#%@=&$~^" + ascii_uppercase


def terminal(plan: Plan, cells: Sequence[Cell], width: int) -> list[str]:
    """pass@k as lines of plain text, at most `width` columns wide; without colour, each method has its letter.

    Raises BadInput without plotext.
    """
    try:
        import plotext  # noqa: F401
    except ImportError:
        raise BadInput("curves on a terminal need the extra `plot`: pip install 'ledlocal[plot]'") from None
    lines = []
    for task, temperature in dict.fromkeys((cell.task, cell.arm.temperature) for cell in cells):
        mine = [cell for cell in cells if (cell.task, cell.arm.temperature) == (task, temperature)]
        curves = {cell.arm.method: [one.value for one in curve(cell, plan.samples)] for cell in mine}
        lines += [f"{safe_line(task)}, temperature {temperature:g}: pass@k, k = 1 ... {plan.samples}",
                  *_canvas(list(curves.values()), plan.samples, max(width, NARROWEST)),
                  *_names(curves, width), ""]
    return [_cut(line, width) for line in lines[:-1]]


def _canvas(curves: Sequence[Sequence[float]], n: int, width: int) -> list[str]:
    """Curves over log2 k. Each takes the columns that are its turn, so that curves that coincide are all seen."""
    import plotext

    low, high, step = _range(curves)
    levels = [low + step * i for i in range(round((high - low) / step) + 1)]
    names = [f"{level:.0%}" for level in levels]
    columns = width - max(map(len, names)) - 2  # within the frame
    end = np.log2(n) if n > 1 else 1.0
    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.plot_size(width, HEIGHT)
    for i, values in enumerate(curves):
        known = [k for k, value in enumerate(values, 1) if not np.isnan(value)]
        at = [end * column / (columns - 1) for column in range(i % columns, columns, len(curves))]
        at = [x for x in at if known and (x <= np.log2(known[-1]) or n == 1)]
        if at:
            y = np.interp(at, np.log2(known), [values[k - 1] for k in known])
            plotext.scatter(at, [float(value) for value in y], marker=_LETTERS[i % len(_LETTERS)])
    ticks = ticks_of(n)
    plotext.xlim(0, end)
    plotext.ylim(low, high)
    plotext.xticks([float(np.log2(k)) for k in ticks], [str(k) for k in ticks])
    plotext.yticks(levels, names)
    lines = plotext.uncolorize(plotext.build()).splitlines()
    plotext.clear_figure()
    return [line.rstrip() for line in lines]


def _range(curves: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Of the y axis: from, to, and between its marks."""
    values = [value for values in curves for value in values if not np.isnan(value)] or [0.0, 1.0]
    step = 0.1 if max(values) - min(values) <= 0.4 else 0.2
    low = min(np.floor(min(values) / step), round(1 / step) - 1)
    high = min(max(np.ceil(max(values) / step), low + 1), round(1 / step))
    return float(low * step), float(high * step), step


def _names(methods: Iterable[str], width: int) -> Iterator[str]:
    """What each letter stands for, as many to a line as fit."""
    line = ""
    for letter, method in zip(cycle(_LETTERS), methods, strict=False):
        entry = f"{letter} {safe_line(method)}"
        if line and len(line) + 3 + len(entry) > width:
            yield line
            line = ""
        line += ("   " if line else "") + entry
    yield line


def _cut(line: str, width: int) -> str:
    """What fits of it; some letters take two columns."""
    while wcswidth(line) > width:
        line = line[:-1]
    return line.rstrip()


def curve(cell: Cell, n: int) -> list[Estimate]:
    """pass@1 ... pass@n of one method, as summary.json has them."""
    return [estimate(cell.pass_at(k)) for k in range(1, n + 1)]


def ticks_of(n: int) -> list[int]:
    """Powers of two and n, as far as there is room for them."""
    ticks = [k for k in powers(n) if k == n or n / k > 1.3]
    return ticks if len(ticks) <= MOST_TICKS else ticks[::-2][::-1]
