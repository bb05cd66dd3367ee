"""The lens as a picture: entropy, coverage with and without the final norm, and p_top1."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledlocal.lens import BINS, KS, SURE, Curves
from ledlocal.lens_report import Report
from ledlocal.safe_text import safe_line
from ledlocal.statistics.interval import Estimate
from ledlocal.text_file import require_new
from ledlocal.values.errors import BadInput, OutOfResources

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".svg", ".png")
MOST_MARKERS = 16
"""Along a line; more of them run together."""
NORMED = {"color": "#08306b", "linestyle": "-", "marker": "o"}
RAW = {"color": "#e6550d", "linestyle": "--", "marker": "s"}
"""Told apart by darkness, dashes and markers, too: in print without colour."""
_SHADES = ("#08306b", "#2171b5", "#41ab5d", "#fd8d3c", "#f2b04e")
_MARKERS = ("o", "s", "^", "D", "v")
"""Of the values of k, from dark to light."""


def require_plot(path: Path) -> None:
    """Raise BadInput unless a plot can be drawn and `path` is a new .svg or .png file in a folder that is there."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise BadInput("--plot needs the extra `plot`: pip install 'ledlocal[plot]'") from None
    if path.suffix.lower() not in SUFFIXES:
        raise BadInput(f"{path}: a plot is a {' or '.join(SUFFIXES)} file")
    require_new(path)


def draw(report: Report, path: Path) -> None:
    """Write the picture. Raises OutOfResources if it cannot be written."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(9, 6.6), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    panels = figure.subplots(2, 2)
    _entropy(panels[0, 0], report)
    _histogram(panels[0, 1], report)
    _coverage(panels[1, 0], report.seen.normed, "with the final norm", legend=True)
    _coverage(panels[1, 1], report.seen.raw, "without the final norm", legend=False)
    seen = report.seen
    # a model's name is text, not the mathematics that matplotlib would read between dollar signs
    figure.suptitle(f"{safe_line(report.loaded.model.name)}: {seen.tokens} {report.kind} of replies to {seen.prompts} "
                    f"prompts", fontsize=11, parse_math=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # letters that its font does not have
            figure.savefig(path, dpi=160)
    except OSError as error:
        raise OutOfResources(f"{path}: cannot write the plot: {error.strerror}") from None


def _entropy(axes: Axes, report: Report) -> None:
    for curves, name, style in ((report.seen.normed, "with the final norm", NORMED),
                                (report.seen.raw, "without", RAW)):
        _line(axes, curves.entropy, name, style)
    _frame(axes, "Entropy / ln V", len(report.seen.raw.entropy))
    axes.legend(frameon=False, fontsize=8)


def _coverage(axes: Axes, curves: Curves, title: str, legend: bool) -> None:
    for k, color, marker in zip(KS, _SHADES, _MARKERS, strict=True):
        _line(axes, curves.coverage[k], f"k = {k}", {"color": color, "linestyle": "-", "marker": marker})
    _frame(axes, f"Final favourite among the layer's top k, {title}", len(curves.entropy))
    if legend:
        axes.legend(frameon=False, fontsize=8)


def _line(axes: Axes, estimates: tuple[Estimate, ...], name: str, style: dict[str, Any]) -> None:
    """A curve over layers in its band of intervals.

    Not where all tokens agree: the bound is a worst case there, far off the bands beside it (the table has it).
    """
    layers = range(1, len(estimates) + 1)
    every = -(-len(estimates) // MOST_MARKERS)
    axes.plot(layers, [e.value for e in estimates], label=name, linewidth=1.4, markersize=4, markevery=every, **style)
    axes.fill_between(layers, [e.low for e in estimates], [e.high for e in estimates], color=style["color"], alpha=0.15,
                      linewidth=0, where=[0 < e.value < 1 for e in estimates])


def _frame(axes: Axes, title: str, layers: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, fontsize=9)
    axes.set_xlabel("layer", fontsize=9)
    axes.set_xlim(0.5, layers + 0.5)
    axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _clean(axes)


def _histogram(axes: Axes, report: Report) -> None:
    seen = report.seen
    shares = [count / seen.tokens for count in seen.histogram]
    bars = axes.bar([(i + 0.5) / BINS for i in range(BINS)], shares, width=0.9 / BINS, color=NORMED["color"])
    axes.bar_label(bars, [f"{share:.0%}" if share >= 0.005 else "" for share in shares], fontsize=8, padding=1)
    axes.set_title(f"p_top1 at temperature {report.temperature:g}: above {SURE:g} at {seen.sure.value:.0%} of tokens",
                   fontsize=9)
    axes.set_xlabel("final layer's probability of its favourite", fontsize=9)
    axes.set_ylabel("share of tokens", fontsize=9)
    axes.set_xlim(0, 1)
    axes.set_xticks([i / BINS for i in range(BINS + 1)])
    axes.margins(y=0.1)
    _clean(axes)


def _clean(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
