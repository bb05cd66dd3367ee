"""A run that lies in a folder, whole or growing under somebody else's hands."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue

from ledlocal.evals.follower import Follower
from ledlocal.values.errors import LedlocalError
from ledlocal_tui.run_state import Anew, Began, LogLine, News

POLL_S = 1.0


class KeptRun:
    """Reads in a thread of its own; its news wait here until the screen takes them."""

    def __init__(self, path: Path) -> None:
        """Raises BadInput if it is no run."""
        self._follower = Follower(path)
        self.plan, self.problems = self._follower.plan, self._follower.problems
        self._news: SimpleQueue[News] = SimpleQueue()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="a run's files", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def take(self) -> list[News]:
        """What came since the last time."""
        return [self._news.get() for _ in range(self._news.qsize())]

    def stop(self) -> None:
        """Read no more."""
        self._left.set()

    def _run(self) -> None:
        began = False
        try:
            while not self._left.is_set():
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
                    self._left.wait(POLL_S)
        except LedlocalError as error:
            self._news.put(LogLine(str(error)))
        except Exception as error:  # the user is to know why nothing comes
            self._news.put(LogLine(f"it cannot be read any more: {type(error).__name__}: {error}"))
