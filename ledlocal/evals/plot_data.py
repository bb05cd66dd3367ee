"""What the pictures of a run show, on paper and on a terminal: the same numbers in both."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ledlocal.evals.run_folder import Sample
from ledlocal.evals.summary import Cell, powers
from ledlocal.safe_text import safe_line
from ledlocal.statistics.interval import Estimate, estimate

MOST_BINS = 30
"""Of a histogram."""
MOST_TICKS = 9


def methods_of(cells: Sequence[Cell]) -> list[str]:
    """Each once, in the plan's order."""
    return list(dict.fromkeys(cell.arm.method for cell in cells))


def temperatures_of(cells: Sequence[Cell]) -> list[float]:
    """Each once, the lowest first."""
    return sorted({cell.arm.temperature for cell in cells})


def is_graded(cells: Sequence[Cell]) -> bool:
    """Whether there is any pass@k to show: a task may have no grader here."""
    return any(cell.graded.any() for cell in cells)


def curve(cell: Cell, n: int) -> list[float]:
    """pass@1 ... pass@n of one method, as summary.json has them; NaN where there is nothing to average."""
    rows = [cell.pass_at(k) for k in range(1, n + 1)]
    return [float(np.mean(row[~np.isnan(row)])) if not np.isnan(row).all() else float("nan") for row in rows]


def intervals(cell: Cell, n: int) -> list[Estimate]:
    """pass@k of one method at each of `ticks_of(n)`."""
    return [estimate(cell.pass_at(k)) for k in ticks_of(n)]


def over_temperature(cells: Sequence[Cell], method: str, k: int) -> tuple[list[float], list[Estimate]]:
    """Temperatures, the lowest first, and pass@k of one method at each."""
    mine = sorted((cell for cell in cells if cell.arm.method == method), key=lambda cell: cell.arm.temperature)
    return [cell.arm.temperature for cell in mine], [estimate(cell.pass_at(k)) for cell in mine]


def ticks_of(n: int) -> list[int]:
    """Powers of two and n, as far as there is room for them."""
    ticks = [k for k in powers(n) if k == n or n / k > 1.3]
    return ticks if len(ticks) <= MOST_TICKS else ticks[::-2][::-1]


def edges_of(cells: Sequence[Cell], most: int = MOST_BINS) -> NDArray[np.int64]:
    """(B + 1,) edges of at most `most` bins of thinking tokens for all cells; B is 0 without any samples.

    Every bin holds equally many lengths, or the bars would go up and down by themselves.
    """
    longest = max((sample.thinking_tokens for cell in cells for sample in _ran(cell)), default=-1)
    width = max(1, -(-(longest + 1) // most))
    return np.arange(0, longest + 1 + width, width, dtype=np.int64) if longest >= 0 else np.zeros(1, np.int64)


def lengths(cell: Cell, edges: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(B,) samples in each bin that came to an end, and (B,) that were cut short."""
    samples = _ran(cell)
    whole, cut = (np.histogram([sample.thinking_tokens for sample in samples
                                if (sample.finish == "length") is truncated], edges)[0].astype(np.int64)
                  for truncated in (False, True))
    return whole, cut


def size_of(cells: Sequence[Cell]) -> str:
    """How many problems and samples the numbers are of."""
    problems = sorted({sum(map(bool, cell.samples)) for cell in cells})
    samples = max((len(row) for cell in cells for row in cell.samples), default=0)
    return (f"{' to '.join(map(str, dict.fromkeys((problems[0], problems[-1]))))} problem{'s' * (problems[-1] != 1)}, "
            f"{samples} sample{'s' * (samples != 1)} each")


def wrapped(text: str, columns: int) -> list[str]:
    """Lines of at most `columns` letters; one, empty, of nothing."""
    return _Wrapper(columns, break_on_hyphens=False).wrap(safe_line(text)) or [""]


class _Wrapper(textwrap.TextWrapper):
    """Breaks a long name at its commas, colons, slashes and underscores."""

    wordsep_simple_re = re.compile(r"(\s+|(?<=[,:/_]))")


def _ran(cell: Cell) -> list[Sample]:
    """Samples without those whose prompt did not fit: they never thought."""
    return [sample for row in cell.samples for sample in row if sample.prompt_tokens]
