"""Replies that are looked at token by token, and what is said of a token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledlocal.values.events import Token
from ledlocal_tui.feed import Feed
from ledlocal_tui.widgets.exploration import quoted


@dataclass(slots=True)
class Inspected:
    """A reply to look at."""

    tokens: list[Token]
    """At least one; layers are put into those that are looked into."""
    source: Sequence[Token] = ()
    """All that has come of it by now."""
    ask: Callable[[], Callable[[int], Feed] | None] = lambda: None
    """What asks an engine for a token's layers now; None where none can be asked, as for a recorded trace."""

    lost: Callable[[], str] = lambda: ""
    """What the engine died of, if none can be asked since."""

    @property
    def project(self) -> Callable[[int], Feed] | None:
        """What asks an engine for a token's layers, if anything can."""
        return self.ask()


@dataclass(frozen=True, slots=True)
class Branch:
    """Where to go on otherwise."""

    reply: int
    """Which of those that were looked at."""
    tokens: tuple[Token, ...]
    """Those of it that stay, and the other one in the end."""


def first_fork(tokens: Sequence[Token]) -> int:
    """Index of the first explored token; 0 if there is none."""
    return next((i for i, token in enumerate(tokens) if token.explored), 0)


def described(token: Token, count: int) -> list[str]:
    """A token in words: where it stands, how sure the final layer was, and how coin and draw fell."""
    name = "part of a marker" if token.marker else quoted(token.text, 24)
    first = f"token {token.i} · {count} shown · {name} · {token.phase}"
    sure = f"p_top1 {token.confidence:.3f} · entropy {token.entropy:.3f}"
    if token.forced:
        return [first, f"{sure} · put there, not drawn"]
    coin, draw = token.u
    if not token.explored:
        return [first, f"{sure} · coin {coin:.3f}: not explored · draw {draw:.3f}"]
    return [first, f"{sure} · coin {coin:.3f}: explored, {'changed' if token.changed else 'same token'} · "
            f"draw {draw:.3f}"]
