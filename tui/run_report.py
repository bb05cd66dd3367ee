"""A run's curves and report, made while the screen goes on: they take seconds where the run is large."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue

from ledlocal.evals.plot_text import terminal
from ledlocal.evals.report import report_so_far
from ledlocal.evals.run_folder import Key, Sample, Score
from ledlocal.evals.summary import cells
from ledlocal.values.errors import LedlocalError
from ledlocal_tui.run_state import RunState

NARROWEST = 40
"""Columns of a picture."""


class RunReport:
    """Makes one after the other, in a thread, and only what would differ from the last one."""

    def __init__(self, folder: Path, state: RunState) -> None:
        self._folder, self._state = folder, state
        self._of: dict[str, tuple[int, ...]] = {}
        """What each was made of, last."""
        self._busy = False
        self._made: SimpleQueue[tuple[str, str]] = SimpleQueue()

    def want(self, name: str, columns: int) -> None:
        """Have `curves` or `report` made, if it is out of date and nothing is being made."""
        state, columns = self._state, max(NARROWEST, columns) if name == "curves" else 0
        of = state.generation, state.progress.whole, columns
        if self._of.get(name) != of and not self._busy:
            self._of[name], self._busy = of, True
            # a daemon: nobody waits for it when the screen is left
            threading.Thread(target=self._make, args=(name, dict(state.samples), dict(state.scores), columns),
                             daemon=True).start()

    def take(self) -> list[tuple[str, str]]:
        """Names and texts of what was made since the last time."""
        made = [self._made.get() for _ in range(self._made.qsize())]
        self._busy = self._busy and not made
        return made

    def _make(self, name: str, samples: dict[Key, Sample], scores: dict[Key, Score], columns: int) -> None:
        try:
            text = self._text(name, samples, scores, columns)
        except LedlocalError as error:
            text = str(error)
        except Exception as error:  # it is shown, whatever it is
            text = f"{type(error).__name__}: {error}"
        self._made.put((name, text))

    def _text(self, name: str, samples: dict[Key, Sample], scores: dict[Key, Score], columns: int) -> str:
        plan = self._state.plan
        found = cells(plan, self._state.problems, samples, scores)
        if name == "report":
            return report_so_far(self._folder, plan, found)
        some = [cell for cell in found if any(cell.samples)]
        return "\n".join(terminal(plan, some, columns)) if some else "no problem has all its samples yet"
