"""What the engine asks of a decoding method in one step, and the methods there are.

There is room for others, none of which would touch the ones below:
DoLa draws from differences of full rows: a second callable in `Step`, like `full_row`, would bring other layers'.
Confident Decoding looks for an entropy valley over the layers: it has their posteriors in `Projected`.
Soft-Thinking feeds a mixture of embeddings back: `Choices` would carry its ids and weights beside `tokens`.
RL rollouts need log-probabilities under the method's own law: `led.law` and `standard.law`, from the same inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ledlocal.methods import led, standard
from ledlocal.methods.final import FinalLayer, FullRow
from ledlocal.values.params import MethodName, Sampling

Shortlist = tuple[NDArray[np.int32], NDArray[np.float64]]
"""ids (R, k) by falling probability and their full-vocabulary probabilities (R, k)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One position of each of R rows that share a Sampling."""

    sampling: Sampling
    in_scope: bool
    """The rows think, or the method's scope is `all`."""
    final: FinalLayer
    """At the method's `inv_temp`."""
    u0: NDArray[np.float64]
    """(R,) coins."""
    u1: NDArray[np.float64]
    """(R,) token uniforms."""
    full_row: FullRow
    """By row number of `final`."""


@dataclass(frozen=True, slots=True)
class Projected:
    """Other layers' view of the candidates, for some rows of a step."""

    rows: NDArray[np.intp]
    """(n,) rising row numbers: all that explore, and any others."""
    posteriors: NDArray[np.floating]
    """(n, d, k) full-vocabulary probabilities of the method's candidates, [:, 0] at the final layer."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a method chose."""

    tokens: NDArray[np.int32]
    """(R,)"""
    changed: NDArray[np.bool_]
    """(R,) explored, and another token than the same u1 draws from the final layer's candidates."""
    exploration: led.Exploration | None = None
    """Depth and entropies of the projected rows, in their order, whether they explored or not."""


class Method(Protocol):
    """A decoding method: no state, every number it uses is in the step."""

    def inv_temp(self, sampling: Sampling) -> float:
        """1 / temperature at which the final layer's statistics are needed."""

    def candidates(self, step: Step) -> Shortlist:
        """The tokens to project and to show."""

    def explores(self, step: Step, candidates: Shortlist) -> NDArray[np.bool_]:
        """Rows (R,) that must be projected before `choose`."""

    def choose(self, step: Step, candidates: Shortlist, explored: NDArray[np.bool_],
               projected: Projected | None) -> Choices:
        """One token per row; `candidates` and `explored` as this method gave them."""


class Standard:
    """Temperature, top-k, top-p and min-p."""

    def inv_temp(self, sampling: Sampling) -> float:
        """1 for llama.cpp's order, which truncates before the temperature."""
        return standard.inv_temp(sampling)

    def candidates(self, step: Step) -> Shortlist:
        """For show only: the head of the list, as it stands where tokens tie."""
        k = step.sampling.led.k
        return step.final.ids[:, :k], step.final.probs(k)

    def explores(self, step: Step, candidates: Shortlist) -> NDArray[np.bool_]:
        """Never."""
        return np.zeros(len(step.u0), bool)

    def choose(self, step: Step, candidates: Shortlist, explored: NDArray[np.bool_],
               projected: Projected | None) -> Choices:
        """From the survivors of the truncation."""
        tokens = standard.choose(step.final, step.u1, step.sampling, step.full_row)
        return Choices(tokens, np.zeros(len(tokens), bool), led.explore(projected.posteriors) if projected else None)


class LatentExploration:
    """LED: exploit with probability p_top1, otherwise draw from the layer mixture of the largest entropy."""

    def inv_temp(self, sampling: Sampling) -> float:
        """1 at temperature 0: greedy choices still toss the coin."""
        return 1 / sampling.temperature if sampling.temperature else 1.0

    def candidates(self, step: Step) -> Shortlist:
        """The k most probable tokens, exactly."""
        return led.candidates(step.final, step.sampling.led.k, step.full_row)

    def explores(self, step: Step, candidates: Shortlist) -> NDArray[np.bool_]:
        """By the coin, in scope."""
        if not step.in_scope:
            return np.zeros(len(step.u0), bool)
        return led.explores(candidates[1][:, 0], step.u0, step.sampling.led.exploit)

    def choose(self, step: Step, candidates: Shortlist, explored: NDArray[np.bool_],
               projected: Projected | None) -> Choices:
        """From the final layer's candidates, or from the mixture where the row explores."""
        ids, probs = candidates
        greedy = step.sampling.temperature == 0
        plain = led.pick(probs, step.u1, greedy)
        if projected is None:
            if explored.any():
                raise ValueError("rows that explore must be projected")
            return Choices(ids[np.arange(len(ids)), plain], np.zeros(len(ids), bool))
        exploration = led.explore(projected.posteriors)
        exploring = np.flatnonzero(explored[projected.rows])
        rows = projected.rows[exploring]
        if len(rows) < np.count_nonzero(explored):
            raise ValueError("rows that explore must be projected")
        chosen = plain.copy()
        chosen[rows] = led.pick(exploration.distribution[exploring], step.u1[rows], greedy)
        return Choices(ids[np.arange(len(ids)), chosen], chosen != plain, exploration)


class Control(LatentExploration):
    """LED's own truncation with exploration off: the k candidates at temperature T, no top-p."""

    def explores(self, step: Step, candidates: Shortlist) -> NDArray[np.bool_]:
        """Never."""
        return np.zeros(len(step.u0), bool)


METHODS: dict[MethodName, Method] = {"standard": Standard(), "led": LatentExploration(), "control": Control()}
"""Every method by the name a user gives."""
