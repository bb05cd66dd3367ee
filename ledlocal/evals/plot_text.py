"""The pictures of a run as text for a terminal: without colour, each method has its letter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, isnan, log2
from string import ascii_uppercase

import numpy as np
from wcwidth import wcswidth

from ledlocal.evals.plan import Plan
from ledlocal.evals.plot_data import (
    MOST_BINS,
    curve,
    edges_of,
    intervals,
    is_graded,
    lengths,
    methods_of,
    over_temperature,
    temperatures_of,
    ticks_of,
    wrapped,
)
from ledlocal.evals.summary import Cell
from ledlocal.safe_text import safe_line
from ledlocal.statistics.interval import Estimate
from ledlocal.values.errors import BadInput

ROWS, NARROWEST = 16, 24
"""Of a plot on a terminal: lines within its frame, about, and columns with it, at least."""
_LETTERS = "ox+*#%@=&$~^" + ascii_uppercase
_BLOCKS = " ▁▂▃▄▅▆▇█"

Letters = Mapping[str, str]
"""By method."""


@dataclass(frozen=True, slots=True)
class _Series:
    """What one letter draws."""

    letter: str
    at: Sequence[float]
    values: Sequence[float]
    """A line through these."""
    bars: Sequence[tuple[float, Estimate]]
    """Intervals and where they stand."""


def terminal(plan: Plan, cells: Sequence[Cell], width: int) -> list[str]:
    """Lines of plain text, at most `width` columns wide: for each task pass@k, temperature and length of thought.

    Raises BadInput without plotext.
    """
    try:
        import plotext  # noqa: F401
    except ImportError:
        raise BadInput("curves on a terminal need the extra `plot`: pip install 'ledlocal[plot]'") from None
    lines: list[str] = []
    for task in dict.fromkeys(cell.task for cell in cells):
        for plot in _of_task([cell for cell in cells if cell.task == task], plan.samples, width):
            lines += [*([""] if lines else []), *plot]
    return [_cut(line, width) for line in lines]


def _of_task(cells: Sequence[Cell], n: int, width: int) -> Iterator[list[str]]:
    """Its plots; none that would be empty."""
    letters = {method: _LETTERS[i % len(_LETTERS)] for i, method in enumerate(methods_of(cells))}
    names, task, temperatures = list(_names(letters, width)), cells[0].task, temperatures_of(cells)
    ticks = {str(k): log2(k) for k in ticks_of(n)}
    for temperature in temperatures:
        mine = [cell for cell in cells if cell.arm.temperature == temperature]
        if is_graded(mine):
            drawn = [_Series(letters[cell.arm.method], [log2(k) for k in range(1, n + 1)], curve(cell, n),
                             list(zip(ticks.values(), intervals(cell, n), strict=True))) for cell in mine]
            yield [*_plot(f"{task}, temperature {temperature:g}: pass@k over k", drawn, ticks, width), *names]
    ticks = {f"{temperature:g}": temperature for temperature in temperatures}
    for k in dict.fromkeys((1, n)) if len(temperatures) > 1 else ():
        drawn = [_Series(letter, at, [one.value for one in bars], list(zip(at, bars, strict=True)))
                 for method, letter in letters.items() for at, bars in [over_temperature(cells, method, k)]]
        if not all(isnan(value) for one in drawn for value in one.values):
            yield [*_plot(f"{task}: pass@{k} over temperature", drawn, ticks, width), *names]
    if len(edges_of(cells)) > 1:
        yield [*_histograms(cells, letters, max(width, NARROWEST)), *names]


def _plot(title: str, drawn: Sequence[_Series], ticks: Mapping[str, float], width: int) -> Iterator[str]:
    """Lines, and at the ticks their intervals side by side, one column each."""
    low, high, step = _range(drawn)
    levels = {f"{low + step * i:.0%}": low + step * i for i in range(round((high - low) / step) + 1)}
    rows = max(1, round(ROWS / (len(levels) - 1))) * (len(levels) - 1)  # from the first to the last
    columns = max(width, NARROWEST) - max(map(len, levels)) - 2  # within the frame
    side, start, end = len(drawn) // 2 + 1, min(ticks.values()), max(ticks.values())

    def column(x: float) -> float:
        """From 0 to columns - 1, with room for half a group of bars at both ends."""
        return side + ((x - start) / (end - start) if end > start else 0.5) * (columns - 1 - 2 * side)

    groups = _apart({x: round(column(x)) for x in ticks.values()}, len(drawn) + 2, columns)
    if not groups:
        side = 0  # the lines have the whole width
    below = {name: round(column(x)) for name, x in ticks.items()}
    taken = {place + i for place in groups.values() for i in range(-side, len(drawn) - side + 2)}
    marks: list[tuple[float, float, str]] = []
    for i, one in enumerate(drawn):
        known = [(column(x), y) for x, y in zip(one.at, one.values, strict=True) if not isnan(y)]
        # each takes the columns that are its turn, so that lines that coincide are all seen
        mine = [x for x in range(i, columns, len(drawn)) if known and x not in taken
                and known[0][0] - 0.5 <= x <= known[-1][0] + 0.5]
        if mine:
            heights = np.interp(mine, [x for x, _ in known], [y for _, y in known])
            marks += [(x, float(y), one.letter) for x, y in zip(mine, heights, strict=True)]
        for x, found in one.bars:
            if x in groups and not isnan(found.value):
                marks += _bar(groups[x] - side + 1 + i, found, one.letter, (high - low) / rows)
    yield from wrapped(f"{title}{', 95 % intervals' if groups else ''}", width)
    yield from _framed(marks, (columns, rows + 1), (low, high), below, levels)


def _bar(x: float, found: Estimate, letter: str, row: float) -> Iterator[tuple[float, float, str]]:
    """An interval as a column of marks, `row` apart, the value upon it."""
    for i in range(ceil((found.high - found.low) / row)):
        yield x, found.low + i * row, "│"
    yield x, found.low, "┴"
    yield x, found.high, "┬"
    yield x, found.value, letter


def _apart(places: Mapping[float, int], least: int, columns: int) -> dict[float, int]:
    """The ticks that have intervals: all, every other ... both ends, or none, so that `least` columns part them."""
    every = list(places)
    if least > columns:
        return {}
    for stride in range(1, len(every) + 1):
        some = every[::-stride][::-1]
        some = [every[0], *some] if some[0] != every[0] else some
        if all(places[b] - places[a] >= least for a, b in pairwise(some)):
            return {x: places[x] for x in some}
    return {}


def _framed(marks: Sequence[tuple[float, float, str]], size: tuple[int, int], ends: tuple[float, float],
            below: Mapping[str, float], beside: Mapping[str, float]) -> list[str]:
    """Marks (column, y, letter), later ones upon earlier ones, in a frame around `size` columns and lines."""
    import plotext

    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.plot_size(size[0] + 2 + max(map(len, beside)), size[1] + 3)
    for x, y, letter in marks:
        plotext.scatter([x], [y], marker=letter)
    plotext.xlim(0, size[0] - 1)
    plotext.ylim(*ends)
    plotext.xticks(list(below.values()), list(below))
    plotext.yticks(list(beside.values()), list(beside))
    lines = plotext.uncolorize(plotext.build()).splitlines()
    plotext.clear_figure()
    return [line.rstrip() for line in lines]


def _range(drawn: Sequence[_Series]) -> tuple[float, float, float]:
    """Of the y axis: from, to, and between its marks."""
    values = [y for one in drawn for y in (*one.values, *(bound for _, found in one.bars
                                                          for bound in (found.low, found.high))) if not isnan(y)]
    span = max(values) - min(values)
    step = 0.05 if span <= 0.2 else 0.1 if span <= 0.7 else 0.2
    low = min(floor(min(values) / step), round(1 / step) - 1)
    high = min(max(ceil(max(values) / step), low + 1), round(1 / step))
    return low * step, high * step, step


def _histograms(cells: Sequence[Cell], letters: Letters, width: int) -> Iterator[str]:
    """Samples by thinking tokens: a row for each method and temperature, all on one scale, and how many were cut."""
    rows = sorted(cells, key=lambda cell: cell.arm.temperature)
    names = [f"T={cell.arm.temperature:g}" for cell in rows]
    cuts = [int(lengths(cell, edges_of(cells))[1].sum()) for cell in rows]
    before, behind = max(map(len, names)), max(3, len(str(max(cuts))))
    room = width - before - behind - 6
    edges = edges_of(cells, min(room, MOST_BINS))
    counts = [whole + cut for whole, cut in (lengths(cell, edges) for cell in rows)]
    wide, most = room // (len(edges) - 1), int(np.max(counts))
    yield from wrapped(f"{cells[0].task}: thinking tokens, {edges[1]} to a bar, █ = {most} samples", width)
    for cell, name, count, cut in zip(rows, names, counts, cuts, strict=True):
        bars = "".join(_BLOCKS[ceil(8 * n / most)] * wide for n in count)
        yield f"{name:{before}} {letters[cell.arm.method]} │{bars}│ {cut:{behind}}"
    end = wide * (len(edges) - 1)
    yield f"{'':{before}}    {'0':<{end // 2}}{edges[-1]:>{end - end // 2}}  {'cut':>{behind}}"


def _names(letters: Letters, width: int) -> Iterator[str]:
    """What each letter stands for, as many to a line as fit."""
    line = ""
    for method, letter in letters.items():
        first, *rest = wrapped(f"{letter} {safe_line(method)}", max(width, NARROWEST))
        if line and (rest or len(line) + 3 + len(first) > width):
            yield line
            line = ""
        line += ("   " if line else "") + first
        for more in rest:
            yield line
            line = f"  {more}"
    yield line


def _cut(line: str, width: int) -> str:
    """What fits of it; some letters take two columns."""
    while wcswidth(line) > width:
        line = line[:-1]
    return line.rstrip()
