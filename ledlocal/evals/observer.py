"""Who is told how a run goes: a table, a screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ledlocal.evals.run_folder import Key, Sample, Score
from ledlocal.values.events import Failed, Finished, Prefilled, Started, Token
from ledlocal.values.params import Detail

Underway = Prefilled | Started | Token | Finished | Failed
"""Events of one sample. Failed: its engine died, and another one will begin it again."""


class Observer(Protocol):
    """Who is told how it goes."""

    detail: Detail
    """What is to be heard of samples under way; `none`: only that they begin."""

    def sampled(self, sample: Sample) -> None:
        """A sample was kept, now or in an earlier session."""

    def scored(self, score: Score) -> None:
        """A score was kept, now or in an earlier session."""

    def heard(self, key: Key, event: Underway) -> None:
        """A sample is under way, or no more; called from any thread."""

    def begin(self, cancel: Callable[[Key], bool]) -> None:
        """What is told from now on is this session's work.

        `cancel` ends a sample, from any thread, and says whether it is under way: nothing of it is kept, so that what
        a person thinks of a sample decides no number, and the run lacks it until another session asks again.
        """

    def tick(self) -> None:
        """Some time has passed."""

    def note(self, text: str) -> None:
        """Something to say once."""
