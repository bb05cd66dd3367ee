"""What the tokens of one reply come to so far: the numbers that the exploration pane shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from ledlocal.methods import led
from ledlocal.values.events import Token


@dataclass(slots=True, eq=False)
class Tally:
    """Counts and series of a reply; each is itself, equal numbers or not. Series have one place per token, in order."""

    thinking: int = 0
    answer: int = 0
    explored: int = 0
    changed: int = 0
    answers: bool = False
    """Answers may be explored, too."""
    ended: bool = False
    """No more tokens come."""
    depths: Counter[int] = field(default_factory=Counter)
    """Explored tokens by chosen depth."""
    entropy: list[float] = field(default_factory=list)
    """Nats, of the final layer over the full vocabulary."""
    mixed: list[float | None] = field(default_factory=list)
    """Nats, of the chosen mixture over the candidates; None where nothing was projected."""
    confidence: list[float] = field(default_factory=list)
    """p_top1."""
    fork: Token | None = None
    """The last token that was explored."""

    @classmethod
    def of(cls, tokens: Iterable[Token], answers: bool = False) -> Self:
        """All of them counted; `answers`: those of an answer may be explored, too."""
        tally = cls(answers=answers)
        for token in tokens:
            tally.add(token)
        return tally

    def add(self, token: Token) -> None:
        """One more token."""
        self.thinking += token.phase == "thinking"
        self.answer += token.phase == "answer"
        self.explored += token.explored
        self.changed += token.changed
        self.entropy.append(token.entropy)
        self.confidence.append(token.confidence)
        self.mixed.append(mixed_entropy(token))
        if token.explored:
            self.fork = token
            if token.depth is not None:
                self.depths[token.depth] += 1

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.thinking + self.answer

    def columns(self, room: int) -> list[slice]:
        """Which tokens share a column of a picture with so many: the last ones have one each while more come; then the
        whole reply is in it, in pieces of which none is longer by more than a token."""
        if not self.ended:
            return [slice(i, i + 1) for i in range(max(0, self.tokens - room), self.tokens)]
        pieces = min(self.tokens, room)
        return [slice(self.tokens * i // pieces, self.tokens * (i + 1) // pieces) for i in range(pieces)]

    @property
    def explorable(self) -> int:
        """Tokens among which the explored ones are."""
        return self.tokens if self.answers else self.thinking


def mixed_entropy(token: Token) -> float | None:
    """Nats, of the mixture that was chosen for a token; None if its layers were not looked at."""
    if token.depth is None or token.candidates is None or token.depth >= len(token.candidates.entropy):
        return None
    return token.candidates.entropy[token.depth]


def mixture(token: Token) -> tuple[float, ...]:
    """(k,) what an explored token was drawn from: the layers down to the chosen depth; empty if none was looked at."""
    if token.candidates is None or token.depth is None or len(token.candidates.posteriors) < 2:
        return ()
    return tuple(led.mixture(np.array(token.candidates.posteriors), token.depth).tolist())
