"""A run that lies in a folder, whole or growing under somebody else's hands."""

from __future__ import annotations

from pathlib import Path

from ledlocal.evals.follower import Follower
from ledlocal.values.errors import LedlocalError
from ledlocal_tui.run_state import Anew, Began, LogLine
from ledlocal_tui.run_thread import RunThread

POLL_S = 1.0


class KeptRun(RunThread):
    """Reads what comes into the folder."""

    def __init__(self, path: Path) -> None:
        """Raises BadInput if it is no run."""
        self._follower = Follower(path)
        super().__init__(self._follower.plan, self._follower.problems)

    def _work(self) -> None:
        began = False
        try:
            while not self._stopping.is_set():
                found = self._follower.more()
                if found is None:
                    self._news.put(Anew())
                    began = False
                    continue
                for record in found:
                    self._news.put(record)
                if not found and not began:  # what was there is read; what comes now is somebody's work
                    self._news.put(Began())
                    began = True
                if not found:
                    self._stopping.wait(POLL_S)
        except LedlocalError as error:
            self._news.put(LogLine(str(error)))
        except Exception as error:  # the user is to know why nothing comes
            self._news.put(LogLine(f"it cannot be read any more: {type(error).__name__}: {error}"))
