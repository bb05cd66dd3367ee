"""A run as pictures: pass@k, temperature and length of thought, method by method."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ledlocal.evals.plan import Plan
from ledlocal.evals.plot_data import (
    curve,
    edges_of,
    intervals,
    is_graded,
    lengths,
    methods_of,
    over_temperature,
    size_of,
    temperatures_of,
    ticks_of,
    wrapped,
)
from ledlocal.evals.summary import Cell
from ledlocal.statistics.interval import Estimate
from ledlocal.text_file import write_whole
from ledlocal.values.errors import BadInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png")
MOST_BANDS = 4
"""Curves in one panel that have bands; more of them have bars, side by side: bands would become one grey area."""
_SAME_BYTES: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".png": {}}
_COLORS = ("#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Of Okabe and Ito, which people who see fewer colours tell apart; without their yellow, too light on white."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1)), (0, (6, 1.5, 1, 1.5)), (0, (1, 1)))
"""For print without colour. These three are of lengths without a common divisor: a method that takes the colour of
an earlier one has another marker and other dashes."""
_PER_INCH = 120
"""Letters of one point to an inch, wide ones: how many fit is this by the size of the font."""


def draw(plan: Plan, cells: Sequence[Cell], folder: Path) -> list[Path]:
    """Write the pictures into `folder`, in the place of earlier ones; the same run gives the same bytes.

    Raises BadInput without matplotlib, OutOfResources if they cannot be written.
    """
    try:
        import matplotlib
    except ImportError:
        raise BadInput("pictures of a run need the extra `plot`: pip install 'ledlocal[plot]'") from None
    paths = []
    with matplotlib.rc_context({"svg.hashsalt": "ledlocal"}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that its font does not have
        for name, figure in _figures(plan, cells):
            paths += [_written(figure, folder / f"{name}{suffix}") for suffix in SUFFIXES]
    return paths


def _figures(plan: Plan, cells: Sequence[Cell]) -> Iterator[tuple[str, Figure]]:
    """Names and figures; none that would be empty."""
    taken: set[str] = set()
    for task in dict.fromkeys(cell.task for cell in cells):
        mine = [cell for cell in cells if cell.task == task]
        name = _file_name(task, taken)
        if is_graded(mine):
            yield f"pass-at-k-{name}", _pass_at_k(mine, plan.samples)
        if is_graded(mine) and len(temperatures_of(mine)) > 1:
            yield f"temperature-{name}", _temperature(mine, plan.samples)
        if len(edges_of(mine)) > 1:
            yield f"length-{name}", _length(mine)


def _pass_at_k(cells: Sequence[Cell], n: int) -> Figure:
    """One panel per temperature, one curve per method with its intervals."""
    temperatures, styles, ticks = temperatures_of(cells), _styles(cells), ticks_of(n)
    figure, panels = _panels(len(temperatures), _title(cells, "pass@k with 95 % intervals"), len(styles))
    banded = n > 1 and len(styles) <= MOST_BANDS
    step = 0 if banded else min(0.05, 0.35 / len(styles))  # in powers of two
    for axes, temperature in zip(panels, temperatures, strict=True):
        for i, (method, style) in enumerate(styles.items()):
            shift = 2 ** (step * (i - (len(styles) - 1) / 2))
            for cell in cells:
                if (cell.arm.method, cell.arm.temperature) == (method, temperature):
                    axes.plot([k * shift for k in range(1, n + 1)], curve(cell, n), label=method,
                              markevery=[k - 1 for k in ticks], **style)
                    (_band if banded else _bars)(axes, [k * shift for k in ticks], intervals(cell, n), style)
        axes.set_title(f"temperature {temperature:g}", fontsize=9)
        axes.set_xlabel("k", fontsize=9)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, labels=[str(k) for k in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlim(2**-0.35, n * 2**0.35)
    _shares(panels)
    _legend(figure, panels)
    return figure


def _band(axes: Axes, at: Sequence[float], found: Sequence[Estimate], style: dict[str, Any]) -> None:
    """Intervals joined to an area."""
    low, high = [one.low for one in found], [one.high for one in found]
    axes.fill_between(at, low, high, color=style["color"], alpha=0.04, linewidth=0)
    for bound in (low, high):  # where bands lie upon each other, their edges tell them apart, not their shades
        axes.plot(at, bound, color=style["color"], linestyle=style["linestyle"], linewidth=0.6, alpha=0.7)


def _bars(axes: Axes, at: Sequence[float], found: Sequence[Estimate], style: dict[str, Any]) -> None:
    """Intervals one by one."""
    axes.errorbar(at, [one.value for one in found], fmt="none", ecolor=style["color"], elinewidth=0.9, capsize=2,
                  yerr=[[one.value - one.low for one in found], [one.high - one.value for one in found]])


def _temperature(cells: Sequence[Cell], n: int) -> Figure:
    """pass@1 and pass@n against the temperature."""
    ks = list(dict.fromkeys((1, n)))
    styles, temperatures = _styles(cells), temperatures_of(cells)
    names = " and ".join(f"pass@{k}" for k in ks)
    figure, panels = _panels(len(ks), _title(cells, f"{names} over temperature, with 95 % intervals"), len(styles))
    # side by side, so that no interval covers another
    step = min(np.diff(temperatures)) * min(0.05, 0.5 / len(styles))
    for axes, k in zip(panels, ks, strict=True):
        for i, (method, style) in enumerate(styles.items()):
            at, found = over_temperature(cells, method, k)
            places = [x + step * (i - (len(styles) - 1) / 2) for x in at]
            axes.plot(places, [one.value for one in found], label=method, **style)
            _bars(axes, places, found, style)
        axes.set_title(f"pass@{k}", fontsize=9)
        axes.set_xlabel("temperature", fontsize=9)
        axes.set_xticks(temperatures, labels=[f"{temperature:g}" for temperature in temperatures])
    _shares(panels)
    _legend(figure, panels)
    return figure


def _length(cells: Sequence[Cell]) -> Figure:
    """A column per temperature, in it one histogram per method: upon each other they would hide one another."""
    from matplotlib.ticker import MaxNLocator

    methods, temperatures = methods_of(cells), temperatures_of(cells)
    column = max(6.0 / len(temperatures), 3.8)
    figure = _figure(column * len(temperatures), 1.2 + 1.05 * len(methods), _title(cells, "length of thought"))
    panels = figure.subplots(len(methods), len(temperatures), sharex=True, sharey=True, squeeze=False)
    edges = edges_of(cells)
    width, tallest = 0.94 * edges[1], 0
    for cell in cells:
        axes = panels[methods.index(cell.arm.method), temperatures.index(cell.arm.temperature)]
        whole, cut = lengths(cell, edges)
        tallest = max(tallest, *(whole + cut))
        axes.bar(edges[:-1], whole, width, align="edge", color="#2171b5", label="came to an end")
        if cut.any():
            axes.bar(edges[:-1], cut, width, bottom=whole, align="edge", color="#f2a93b", label="cut short")
        axes.set_title(_fitted(f"{cell.arm.method}, temperature {cell.arm.temperature:g}", column - 0.6, 8),
                       fontsize=8, loc="left", pad=2, parse_math=False)
    for axes in panels.flat:
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        _clean(axes)
    panels[0, 0].set_ylim(0, 1.12 * tallest)
    for axes in panels[-1]:
        axes.set_xlabel("thinking tokens", fontsize=9)
    figure.supylabel("samples", fontsize=9)
    _legend(figure, panels.flat)
    return figure


def _title(cells: Sequence[Cell], what: str) -> str:
    return f"{cells[0].task}: {what}\n{size_of(cells)}"


def _styles(cells: Sequence[Cell]) -> dict[str, dict[str, Any]]:
    """How each method is drawn, in every panel the same."""
    return {method: {"color": _COLORS[i % len(_COLORS)], "marker": _MARKERS[i % len(_MARKERS)],
                     "markerfacecolor": "white" if i // len(_COLORS) % 2 else _COLORS[i % len(_COLORS)],
                     "linestyle": _DASHES[i % len(_DASHES)], "linewidth": 1.5, "markersize": 5}
            for i, method in enumerate(methods_of(cells))}


def _panels(count: int, title: str, curves: int) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels, larger ones for many curves; not so wide that it would shrink on a page."""
    larger = min(1.6, max(1.0, curves / 8))
    columns = 2 if count == 4 else min(count, 3 if larger == 1 else 2)
    rows = -(-count // columns)
    figure = _figure(max(5.5, 4.2 * larger * columns), 3.4 * larger * rows + 0.9, title)
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def _figure(width: float, height: float, title: str) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
    # a name is text, not the mathematics that matplotlib would read between dollar signs
    lines = [_fitted(line, width - 0.3, 11) for line in title.split("\n")]
    figure.suptitle("\n".join(lines), fontsize=11, parse_math=False)
    return figure


def _shares(panels: Sequence[Axes]) -> None:
    """A y axis in per cent, within 0 and 100, for all panels."""
    from matplotlib.ticker import PercentFormatter

    for axes in panels:
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        _clean(axes)
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(max(low, -0.02), min(high, 1.02))


def _legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """Below the panels, where it covers no curve."""
    known = {name: handle for axes in panels for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    names = [_fitted(name, figure.get_figwidth() - 0.9, 8) for name in known]
    widest = max(len(line) for name in names for line in name.split("\n")) + 10  # the line before a name
    rows = -(-len(known) // max(1, int(figure.get_figwidth() * _PER_INCH / 8 / widest)))
    legend = figure.legend(list(known.values()), names, loc="outside lower center", frameon=False, fontsize=8,
                           ncols=-(-len(known) // rows), handlelength=3.6)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _fitted(text: str, width: float, size: int) -> str:
    """As lines of at most `width` inches in a font of `size` points."""
    return "\n".join(wrapped(text, max(1, int(width * _PER_INCH / size))))


def _clean(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _file_name(task: str, taken: set[str]) -> str:
    """A task's name as part of a file's; each once."""
    name = first = re.sub(r"[^A-Za-z0-9._-]+", "-", task)
    number = 1
    while name.lower() in taken:
        number += 1
        name = f"{first}-{number}"
    taken.add(name.lower())
    return name


def _written(figure: Figure, path: Path) -> Path:
    content = BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=160, metadata=_SAME_BYTES[path.suffix])
    write_whole(path, content.getvalue())
    return path
