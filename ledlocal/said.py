"""A reply token by token, as the session that asked for it saw it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ledlocal.values.events import Phase, Token
from ledlocal.values.params import Request


def ids_of(tokens: Iterable[Token]) -> tuple[int, ...]:
    """What a reply that goes on behind these tokens begins with."""
    return tuple(token.id for token in tokens)


def text_of(tokens: Iterable[Token], phase: Phase) -> str:
    """What they say in one phase."""
    return "".join(token.text for token in tokens if token.phase == phase)


@dataclass(frozen=True, slots=True)
class Said:
    """Tokens of a reply, and the text before them where it began in a session whose tokens are gone."""

    request: Request
    """What was asked for first; it continues the ids of the text before the tokens."""
    tokens: tuple[Token, ...] = ()
    thinking: str = ""
    """Before the tokens."""
    answer: str = ""
    """Before the tokens."""

    def with_tokens(self, tokens: Sequence[Token]) -> Said:
        """The same with other tokens behind the text."""
        return replace(self, tokens=tuple(tokens))

    @property
    def ids(self) -> tuple[int, ...]:
        """Of all of it."""
        return self.request.continues + ids_of(self.tokens)

    def text(self, phase: Phase) -> str:
        """All of a phase, without the white space around it."""
        return ((self.thinking if phase == "thinking" else self.answer) + text_of(self.tokens, phase)).strip()
