"""An evaluation at work in a thread of this process, seen and steered from the screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ledlocal.evals.observer import Observer, Underway
from ledlocal.evals.plan import Plan
from ledlocal.evals.run_folder import Key, Sample, Score
from ledlocal.evals.task import Problems
from ledlocal.values.errors import LedlocalError
from ledlocal.values.params import Detail
from ledlocal_tui.run_state import Began, Heard, LogLine
from ledlocal_tui.run_thread import RunThread

STOPPING_S = 10.0
"""For samples that are finished to be written; a model that is being loaded may take longer."""


class LiveRun(RunThread):
    """Evaluates, and is the Observer of that."""

    detail: Detail = "forks"

    def __init__(self, plan: Plan, problems: Problems, evaluate: Callable[[Observer], dict[str, Any]]) -> None:
        """`evaluate` returns the summary."""
        super().__init__(plan, problems)
        self.summary: dict[str, Any] | None = None
        """Of a run that came to its end."""
        self.error: BaseException | None = None
        """What ended it early."""
        self._evaluate = evaluate
        self._cancel: Callable[[Key], bool] | None = None

    def cancel(self, key: Key) -> bool:
        """End a sample, if it is under way; the run will lack it until the same command asks again."""
        return self._cancel is not None and self._cancel(key)

    def end(self) -> None:
        """End the work, and wait until what is finished is kept."""
        self.stop()
        if self._thread.is_alive():  # no screen may ever have started it
            self._thread.join(STOPPING_S)

    def result(self) -> dict[str, Any]:
        """The summary of a run that came to its end. Raises what ended it early; KeyboardInterrupt: it was left."""
        if self.error is not None:
            raise self.error
        if self.summary is None:
            raise KeyboardInterrupt
        return self.summary

    def _work(self) -> None:
        try:
            self.summary = self._evaluate(self)
            self._news.put(LogLine("the run is complete" if self.summary["complete"] else "the run is not complete"))
        except KeyboardInterrupt as error:
            self.error = error
        except LedlocalError as error:
            self.error = error
            self._news.put(LogLine(f"it ended: {error}"))
        except Exception as error:
            self.error = error
            self._news.put(LogLine(f"it ended by a fault of ledlocal: {type(error).__name__}: {error}"))

    def sampled(self, sample: Sample) -> None:
        """A sample was kept."""
        self._news.put(sample)

    def scored(self, score: Score) -> None:
        """A score was kept."""
        self._news.put(score)

    def heard(self, key: Key, event: Underway) -> None:
        """A sample is under way."""
        self._news.put(Heard(key, event))

    def begin(self, cancel: Callable[[Key], bool]) -> None:
        """What is told from now on is this session's work."""
        self._cancel = cancel
        self._news.put(Began())

    def tick(self) -> None:
        """Raises KeyboardInterrupt where the user has left: what is finished is kept then as after Ctrl-C."""
        if self._stopping.is_set():
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        """Something to say once."""
        self._news.put(LogLine(text))
