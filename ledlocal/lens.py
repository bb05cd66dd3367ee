"""What the layers of a model say while it replies: the paper's observations (arXiv 2602.01698), from token events.

- Normalised entropy per layer: entropy / ln V, near 1 where a layer knows nothing, near 0 where it is certain.
- Coverage per layer: how often the final layer's favourite token is among that layer's k most probable ones.
- p_top1: the final layer's probability of its favourite, at the sampling temperature; above 0.9 LED hardly explores.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ledlocal.statistics.interval import Estimate, pooled
from ledlocal.values.errors import BadInput
from ledlocal.values.events import Event, Lens, Phase, Token
from ledlocal.values.params import Request

if TYPE_CHECKING:
    from ledlocal.reply import Engine

Tokens = Phase | Literal["all"]
KS = (1, 2, 4, 8, 16)
"""Lengths of the lists in which the final layer's favourite is looked for (the paper's figure 4)."""
BINS = 10
SURE = 0.9


@dataclass(frozen=True, slots=True)
class Curves:
    """Numbers of layers 1 ... L, means over tokens with intervals over prompts."""

    entropy: tuple[Estimate, ...]
    """(L,) divided by ln V: 0 to 1."""
    coverage: dict[int, tuple[Estimate, ...]]
    """k -> (L,) shares of tokens."""
    unsound: tuple[int, ...]
    """(L,) tokens left out because the layer's logits are not finite."""


@dataclass(frozen=True, slots=True)
class Observations:
    """All that is known about the tokens of one run."""

    tokens: int
    prompts: int
    """Those with tokens of this phase."""
    raw: Curves
    """Without the final norm before the output head."""
    normed: Curves
    confidence: Estimate
    """Mean p_top1."""
    sure: Estimate
    """Share of tokens with p_top1 above SURE."""
    histogram: tuple[int, ...]
    """(BINS,) tokens by p_top1, in bins of equal width from 0 to 1; the last one holds 1."""


class Tally:
    """Sums over the tokens of one prompt's replies."""

    def __init__(self, layers: int) -> None:
        self.tokens = self.sure = 0
        self.confidence = 0.0
        self.histogram = np.zeros(BINS, np.int64)
        self.entropy = np.zeros((2, layers))
        """(2, L) without and with the norm; so are the next two."""
        self.sound = np.zeros((2, layers), np.int64)
        self.covered = np.zeros((len(KS), 2, layers), np.int64)

    def add(self, token: Token) -> None:
        """Count one more. Raises ValueError for a token without a lens."""
        if token.lens is None:
            raise ValueError("the engine was loaded without the lens")
        self.tokens += 1
        self.sure += token.confidence > SURE
        self.confidence += token.confidence
        self.histogram[min(int(token.confidence * BINS), BINS - 1)] += 1
        entropy, rank = _arrays(token.lens)
        sound = np.isfinite(entropy)
        self.sound += sound
        self.entropy += np.where(sound, entropy, 0)
        self.covered += rank < np.array(KS)[:, None, None]  # a NaN is not


def _arrays(lens: Lens) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Entropies and ranks, (2, L) each; NaN where a layer says nothing."""
    return (np.array([lens.entropy, lens.normed_entropy], np.float64),
            np.array([lens.rank, lens.normed_rank], np.float64))


def summarize(tallies: Sequence[Tally], vocabulary: int) -> Observations:
    """The numbers of all prompts (P,), from the tally of each."""
    tokens = [tally.tokens for tally in tallies]
    return Observations(
        sum(tokens), sum(n > 0 for n in tokens), _curves(tallies, 0, vocabulary), _curves(tallies, 1, vocabulary),
        pooled([tally.confidence for tally in tallies], tokens), pooled([tally.sure for tally in tallies], tokens),
        tuple(int(n) for n in np.sum([tally.histogram for tally in tallies], axis=0)))


def _curves(tallies: Sequence[Tally], norm: int, vocabulary: int) -> Curves:
    sound = np.stack([tally.sound[norm] for tally in tallies])  # (P, L)
    entropy = np.stack([tally.entropy[norm] for tally in tallies]) / math.log(vocabulary)
    covered = np.stack([tally.covered[:, norm] for tally in tallies])  # (P, K, L)
    layers = range(sound.shape[1])

    def coverage(i: int, layer: int) -> Estimate:
        found = pooled(covered[:, i, layer], sound[:, layer])
        # the final layer beside itself is a check of the tap, no sample of anything
        return Estimate(*[found.value] * 3) if norm and layer == layers[-1] else found

    return Curves(
        tuple(pooled(entropy[:, layer], sound[:, layer]) for layer in layers),
        {k: tuple(coverage(i, layer) for layer in layers) for i, k in enumerate(KS)},
        tuple(int(n) for n in sum(tally.tokens for tally in tallies) - sound.sum(0)))


def observe(engine: Engine, requests: Sequence[Request], which: Tokens, at_once: int,
            seen: Callable[[Event], None]) -> list[Tally]:
    """Serve one request per prompt and tally each; `seen` is told every event.

    Raises what the engine raises, BadInput with the prompt's number.
    """
    tallies = [Tally(engine.loaded.model.layers) for _ in requests]
    for i, event in _side_by_side(engine, requests, at_once):
        if isinstance(event, Token) and which in ("all", event.phase):
            tallies[i].add(event)
        seen(event)
    return tallies


def _side_by_side(engine: Engine, requests: Sequence[Request], at_once: int) -> Iterator[tuple[int, Event]]:
    """Events of several requests that are open at a time, each with its request's place."""
    waiting = iter(enumerate(requests))
    opened: deque[tuple[int, Iterator[Event]]] = deque()
    while True:
        while len(opened) < at_once and (following := next(waiting, None)) is not None:
            opened.append((following[0], engine.generate(following[1])))
        if not opened:
            return
        i, events = opened.popleft()
        try:
            event = next(events, None)
        except BadInput as error:
            raise BadInput(f"prompt {i + 1}: {error}") from None
        if event is not None:
            opened.append((i, events))
            yield i, event
