"""The same work through the engine, with a coin that may be forced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from ledlocal.bench.contender import STANDARD, Contender
from ledlocal.engine.engine import Engine
from ledlocal.methods.method import METHODS, LatentExploration, Step
from ledlocal.values.events import Token
from ledlocal.values.params import Led, Request, Sampling


class ForcedCoin(LatentExploration):
    """LED that explores at a fixed share of the tokens, evenly spread, whatever the model's confidence."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._tossed = 0

    def explores(self, step: Step) -> NDArray[np.bool_]:
        """Where the share falls behind."""
        due = np.floor(self._share * np.arange(self._tossed, self._tossed + len(step.u0) + 1))
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
    """A contender that uses an engine; counts the tokens that it might explore, and those that it did."""

    def __init__(self, engine: Engine, contender: Contender) -> None:
        self._engine, self._contender = engine, contender
        self.explored = self.chosen = 0

    def tokens(self, prompt: Sequence[int]) -> Iterator[int]:
        """Tokens after the prompt, of as many samples as there are slots, up to the context's end."""
        explores = self._contender.name != STANDARD
        sampling = Sampling(method="led" if explores else "standard", led=Led(scope="all"))
        request = Request(prompt_ids=tuple(prompt), thinking=sampling, answer=sampling, ignore_eos=True,
                          n=self._engine.loaded.model.slots)
        with forced(self._contender.share):
            for event in self._engine.generate(request):
                if isinstance(event, Token):
                    self.chosen += explores
                    self.explored += event.explored
                    yield event.id

    def close(self) -> None:
        """Nothing: the engine is its owner's."""
