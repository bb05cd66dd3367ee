"""The same work through the engine, with a coin that may be forced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from ledlocal.bench.contender import STANDARD, Contender
from ledlocal.engine.engine import Engine
from ledlocal.methods.method import METHODS, LatentExploration, Shortlist, Step
from ledlocal.values.errors import LedlocalError
from ledlocal.values.events import Event, Finished, Started
from ledlocal.values.params import Led, Request, Sampling


class ForcedCoin(LatentExploration):
    """LED that explores at a fixed share of the tokens, evenly spread, whatever the model's confidence."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._tossed = 0

    def explores(self, step: Step, candidates: Shortlist) -> NDArray[np.bool_]:
        """Where the share falls behind."""
        # from a half on: a few tokens then explore as often as their share says, to the nearest
        due = np.floor(self._share * np.arange(self._tossed, self._tossed + len(step.u0) + 1) + 0.5)
        self._tossed += len(step.u0)
        explored: NDArray[np.bool_] = np.diff(due) > 0
        return explored


@contextmanager
def forced(share: float | None) -> Iterator[None]:
    """Within, LED's coin explores at this share of the tokens; None: its own coin."""
    own = METHODS["led"]
    if share is not None:
        METHODS["led"] = ForcedCoin(share)
    try:
        yield
    finally:
        METHODS["led"] = own


class ThroughEngine:
    """A contender that uses an engine, as an evaluation does: nobody listens token by token."""

    def __init__(self, engine: Engine, contender: Contender) -> None:
        self._engine, self._contender = engine, contender
        self.explored = self.chosen = 0

    def steps(self, prompt: Sequence[int]) -> Iterator[None]:
        """Each is one more token of as many samples as there are slots, up to the context's end.

        Once it is closed, `chosen` tokens might have explored, and `explored` of them did.
        """
        explores, samples = self._contender.name != STANDARD, self._engine.loaded.model.slots
        sampling = Sampling(method="led" if explores else "standard", led=Led(scope="all"))
        started = 0
        with forced(self._contender.share):
            number = self._engine.submit(Request(prompt_ids=tuple(prompt), thinking=sampling, answer=sampling,
                                                 n=samples, ignore_eos=True, detail="none"))
            try:
                while True:
                    events = self._engine.step()
                    if end := next((event for event in events if isinstance(event, Finished)), None):
                        raise LedlocalError(f"a sample ended before its time: {end.reason or end.finish}")
                    started += sum(isinstance(event, Started) for event in events)
                    if started == samples:
                        yield
            finally:
                self._engine.cancel(number)
                ends = [event for event in self._rest() if isinstance(event, Finished)]
                self.explored = sum(end.led.explored for end in ends)
                self.chosen = sum(len(end.ids) for end in ends) * explores

    def _rest(self) -> Iterator[Event]:
        while self._engine.busy:
            yield from self._engine.step()

    def close(self) -> None:
        """Nothing: the engine is its owner's."""
