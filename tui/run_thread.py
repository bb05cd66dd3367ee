"""A thread that tells of a run, and what it told until somebody takes it."""

from __future__ import annotations

import threading
from queue import SimpleQueue

from ledlocal.evals.plan import Plan
from ledlocal.evals.task import Problems
from ledlocal_tui.run_state import Ended, News


class RunThread:
    """Works from `start` on; how is a matter of each kind."""

    def __init__(self, plan: Plan, problems: Problems) -> None:
        self.plan, self.problems = plan, problems
        self._news: SimpleQueue[News] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="a run", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def take(self) -> list[News]:
        """What came since the last time."""
        return [self._news.get() for _ in range(self._news.qsize())]

    def stop(self) -> None:
        """The work is to end; nobody is kept waiting for it."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._news.put(Ended())

    def _work(self) -> None:
        """Until `_stopping` is set, or there is no more to do."""
        raise NotImplementedError
