"""Where a sequence is, in its thoughts or in its answer: a state machine on generated token ids."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ledlocal.values.events import Phase

InitialPhase = Literal["open", "closed", "unopened"]
"""How a prompt ends: in thinking, behind it, or before it (the model may open it itself)."""

Spell = Callable[[int], Sequence[int]]
"""Token id -> the symbols it stands for."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one token was."""

    phase: Phase
    """The phase it was drawn in; a start marker's tokens are drawn in `answer`, an end marker's in `thinking`."""
    marker_length: int = 0
    """If this token completed a marker: how many tokens, this one the last, are that marker."""

    @property
    def marker(self) -> bool:
        """It completed a marker."""
        return self.marker_length > 0


_PLAIN: dict[Phase, Step] = {"thinking": Step("thinking"), "answer": Step("answer")}


def _themselves(token: int) -> Sequence[int]:
    return (token,)


class ThinkingTracker:
    """Follows thinking over the tokens pushed, exactly, whatever else the markers overlap.

    Markers are sequences of token ids. Where a vocabulary has no tokens of their own for them, so that neighbours merge
    into them (`.</`, `>\\n`), pass them as bytes, and `spell` giving a token's bytes; all numbers still count tokens.
    Of several markers that end at the same symbol the longest counts; a completed marker shares no symbol with another.
    Inside thinking an end closes it, and a start is a marker without effect. Outside, a start opens it (again), and an
    end is a marker without effect where an answer begins (first of all, or straight behind a marker), else plain text.
    """

    def __init__(self, starts: Sequence[Sequence[int]], ends: Sequence[Sequence[int]], phase: InitialPhase,
                 force: Sequence[int] | None = None, spell: Spell | None = None) -> None:
        """`force`: token ids that end thinking, default the first end. Raises ValueError if these cannot work."""
        self._markers: tuple[tuple[tuple[int, ...], Literal["start", "end"]], ...] = (
            *((tuple(m), "start") for m in starts), *((tuple(m), "end") for m in ends))
        if any(not m for m, _ in self._markers):
            raise ValueError("a thinking marker must not be empty")
        if not ends and (starts or phase == "open"):
            raise ValueError("thinking needs an end marker")
        self._ids = spell is None
        self._spell: Spell = spell or _themselves
        if force is None:
            if ends and not self._ids:
                raise ValueError("spelled markers need the token ids that force the end")
            force = ends[0] if ends else ()
        self._force = tuple(force)
        if ends and not self._closes(self._force):
            raise ValueError("the forced tokens contain no end marker")
        self._window = max((len(m) for m in (*(m for m, _ in self._markers), self._force)), default=0)
        self._last = {m[-1] for m, _ in self._markers} if self._ids else None
        """Tokens that may complete a marker; None: any may."""
        self._symbols: deque[int] = deque(maxlen=self._window)
        """The last symbols that may belong to a marker."""
        self._owners: deque[int] = deque(maxlen=self._window)
        """Numbers of their tokens."""
        self._pushed = 0
        self._begin = 0
        self.phase: Phase = "thinking" if phase == "open" else "answer"
        """Of the next token to draw."""
        self.count = 0
        """Tokens drawn inside thinking so far, end markers included, start markers not; all blocks together."""

    def push(self, token: int) -> Step:
        """Take the next token, drawn or forced."""
        phase = self.phase
        self.count += phase == "thinking"
        number, self._pushed = self._pushed, self._pushed + 1
        if self._last is not None and token not in self._last:
            self._symbols.append(token)
            self._owners.append(number)
            return _PLAIN[phase]
        step = Step(phase)
        for symbol in self._spell(token):
            self._symbols.append(symbol)
            self._owners.append(number)
            completed = self._completed()
            if completed is not None:
                length, kind = completed
                step = Step(phase, max(step.marker_length, self._tokens(length)))
                self.phase = "thinking" if kind == "start" else "answer"
                self._begin = self._pushed
                self._symbols.clear()
                self._owners.clear()
        return step

    @property
    def pending(self) -> int:
        """How many of the last tokens may still turn out to begin a marker: hold back their text."""
        for length in range(min(len(self._symbols), self._window - 1), 0, -1):
            tail = tuple(self._symbols)[-length:]
            if any(len(m) > length and m[:length] == tail for m, _ in self._markers):
                return self._tokens(length)
        return 0

    def force(self) -> tuple[int, ...]:
        """Token ids to append to end thinking now, less those that already stand there; () outside thinking."""
        if self.phase == "answer":
            return ()
        # Spelled tokens are not compared: a marker written twice in part still ends thinking.
        standing = range(min(len(self._symbols), len(self._force) - 1) if self._ids else 0, 0, -1)
        overlap = next((n for n in standing if tuple(self._symbols)[-n:] == self._force[:n]), 0)
        return self._force[overlap:]

    def _tokens(self, symbols: int) -> int:
        """How many tokens the last `symbols` symbols span, not counting a token that a marker already took."""
        return self._pushed - max(self._owners[-symbols], self._begin)

    def _completed(self) -> tuple[int, Literal["start", "end"]] | None:
        """Length and kind of the longest marker that ends at the last symbol and counts where it stands."""
        best: tuple[int, Literal["start", "end"]] | None = None
        symbols = tuple(self._symbols)
        for marker, kind in self._markers:
            n = len(marker)
            if symbols[-n:] != marker:
                continue
            if kind == "end" and self.phase == "answer" and self._owners[-n] > self._begin:
                continue
            if best is None or n > best[0]:
                best = (n, kind)
        return best

    def _closes(self, tokens: Sequence[int]) -> bool:
        """Whether these tokens contain an end marker."""
        text = [s for t in tokens for s in self._spell(t)]
        ends = [m for m, kind in self._markers if kind == "end"]
        return any(tuple(text[i:i + len(m)]) == m for m in ends for i in range(len(text)))
