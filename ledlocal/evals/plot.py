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
from ledlocal.evals.plot_text import curve, ticks_of
from ledlocal.evals.run_folder import write_whole
from ledlocal.evals.summary import Cell, powers
from ledlocal.safe_text import safe_line
from ledlocal.statistics.interval import Estimate, estimate
from ledlocal.values.errors import BadInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png")
BINS = 30
_SAME_BYTES: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".png": {}}
_COLORS = ("#000000", "#e6550d", "#2166ac", "#74c476", "#542788", "#e6b800")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1)), (0, (6, 1.5, 1, 1.5)), (0, (1, 1)))
"""Told apart by darkness, dashes and markers, too: in print without colour, and by people who see less of it. Of
different lengths, so that it takes many methods until one is drawn as another."""


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
    """Names and figures."""
    taken: set[str] = set()
    for task in dict.fromkeys(cell.task for cell in cells):
        mine = [cell for cell in cells if cell.task == task]
        name = _file_name(task, taken)
        yield f"pass-at-k-{name}", _pass_at_k(mine, plan.samples)
        if len(_temperatures(mine)) > 1:
            yield f"temperature-{name}", _temperature(mine, plan.samples)
        yield f"length-{name}", _length(mine)


def _pass_at_k(cells: Sequence[Cell], n: int) -> Figure:
    """One panel per temperature, one curve per method in the band of its interval."""
    temperatures = _temperatures(cells)
    figure, panels = _panels(len(temperatures), f"{_about(cells)}: pass@k with 95 % intervals")
    styles = _styles(cells)
    for axes, temperature in zip(panels, temperatures, strict=True):
        for cell in cells:
            if cell.arm.temperature == temperature:
                _curve(axes, curve(cell, n), cell.arm.method, styles[cell.arm.method], shade=0.16 / len(styles))
        axes.set_title(f"temperature {temperature:g}", fontsize=9)
        axes.set_xlabel("k", fontsize=9)
        axes.set_xscale("log", base=2)
        ticks = ticks_of(n)
        axes.set_xticks(ticks, labels=[str(k) for k in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlim(2**-0.15, n * 2**0.15)
    _shares(panels)
    _legend(figure, panels)
    return figure


def _curve(axes: Axes, estimates: Sequence[Estimate], name: str, style: dict[str, Any], shade: float) -> None:
    at = range(1, len(estimates) + 1)
    low, high = [one.low for one in estimates], [one.high for one in estimates]
    ticks = [k - 1 for k in powers(len(at))]
    axes.plot(at, [one.value for one in estimates], label=name, markevery=ticks, **style)
    axes.fill_between(at, low, high, color=style["color"], alpha=shade, linewidth=0)
    for bound in (low, high):  # where bands lie upon each other, their edges tell them apart, not their shades
        axes.plot(at, bound, color=style["color"], linestyle=style["linestyle"], linewidth=0.6, alpha=0.7)


def _temperature(cells: Sequence[Cell], n: int) -> Figure:
    """pass@1 and pass@n against the temperature."""
    ks = list(dict.fromkeys((1, n)))
    figure, panels = _panels(len(ks), f"{_about(cells)}: temperature, with 95 % intervals")
    styles, temperatures = _styles(cells), _temperatures(cells)
    # side by side, so that no interval covers another
    step = min(np.diff(temperatures)) * min(0.05, 0.4 / len(styles))
    for axes, k in zip(panels, ks, strict=True):
        for i, (method, style) in enumerate(styles.items()):
            mine = sorted((cell for cell in cells if cell.arm.method == method), key=lambda cell: cell.arm.temperature)
            found = [estimate(cell.pass_at(k)) for cell in mine]
            axes.errorbar([cell.arm.temperature + step * (i - (len(styles) - 1) / 2) for cell in mine],
                          [one.value for one in found],
                          yerr=[[one.value - one.low for one in found], [one.high - one.value for one in found]],
                          label=method, elinewidth=0.9, capsize=2.5, **style)
        axes.set_title(f"pass@{k}", fontsize=9)
        axes.set_xlabel("temperature", fontsize=9)
        axes.set_xticks(temperatures, labels=[f"{temperature:g}" for temperature in temperatures])
    _shares(panels)
    _legend(figure, panels)
    return figure


def _length(cells: Sequence[Cell]) -> Figure:
    """A column per temperature, in it one histogram per method: upon each other they would hide one another."""
    from matplotlib.ticker import MaxNLocator

    methods, temperatures = list(_styles(cells)), _temperatures(cells)
    figure = _figure(max(6.0, 3.8 * len(temperatures)), 1.1 + 1.05 * len(methods),
                     f"{_about(cells)}: length of thought")
    panels = figure.subplots(len(methods), len(temperatures), sharex=True, sharey=True, squeeze=False)
    longest = max((sample.thinking_tokens for cell in cells for row in cell.samples for sample in row), default=0)
    edges = np.linspace(0, max(longest, BINS), BINS + 1)
    for cell in cells:
        axes = panels[methods.index(cell.arm.method), temperatures.index(cell.arm.temperature)]
        samples = [sample for row in cell.samples for sample in row]
        whole, cut = (np.histogram([sample.thinking_tokens for sample in samples
                                    if (sample.finish == "length") is truncated], edges)[0]
                      for truncated in (False, True))
        widths = np.diff(edges)
        axes.bar(edges[:-1], whole, widths, align="edge", color="#2171b5", edgecolor="white", linewidth=0.4,
                 label="came to an end")
        if cut.any():
            some = cut > 0  # an empty bar would still be a black line
            axes.bar(edges[:-1][some], cut[some], widths[some], bottom=whole[some], align="edge", color="white",
                     edgecolor="black", linewidth=0.6, hatch="//////", label="cut short")
        axes.set_title(safe_line(f"{cell.arm.method}, temperature {cell.arm.temperature:g}"), fontsize=8, loc="left",
                       pad=2, parse_math=False)
    for axes in panels.flat:
        axes.margins(y=0.12)
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
        _clean(axes)
    for axes in panels[-1]:
        axes.set_xlabel("thinking tokens", fontsize=9)
    figure.supylabel("samples", fontsize=9)
    _legend(figure, panels.flat)
    return figure


def _about(cells: Sequence[Cell]) -> str:
    samples = max((len(row) for cell in cells for row in cell.samples), default=0)
    return f"{safe_line(cells[0].task)}, {sum(map(bool, cells[0].samples))} problems, {samples} samples each"


def _temperatures(cells: Sequence[Cell]) -> list[float]:
    return sorted({cell.arm.temperature for cell in cells})


def _styles(cells: Sequence[Cell]) -> dict[str, dict[str, Any]]:
    """How each method is drawn, in every panel the same."""
    return {method: {"color": _COLORS[i % len(_COLORS)], "marker": _MARKERS[i % len(_MARKERS)],
                     "linestyle": _DASHES[i % len(_DASHES)], "linewidth": 1.5, "markersize": 5}
            for i, method in enumerate(dict.fromkeys(cell.arm.method for cell in cells))}


def _panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    """A figure of equal panels, three in a row at most."""
    columns = 2 if count == 4 else min(count, 3)
    rows = -(-count // columns)
    figure = _figure(max(5.5, 4.2 * columns), 3.4 * rows + 0.9, title)
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def _figure(width: float, height: float, title: str) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))
    # a name is text, not the mathematics that matplotlib would read between dollar signs
    figure.suptitle(title, fontsize=11, parse_math=False)
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
    # at this size 15 letters are an inch; a line before a name takes 10
    fitting = max(1, int(figure.get_figwidth() * 15 / (max(map(len, known), default=0) + 10)))
    rows = max(1, -(-len(known) // fitting))
    legend = figure.legend(list(known.values()), [safe_line(name) for name in known], loc="outside lower center",
                           frameon=False, fontsize=8, ncols=max(1, -(-len(known) // rows)), handlelength=3.6)
    for text in legend.get_texts():
        text.set_parse_math(False)


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
