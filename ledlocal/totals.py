"""What the replies of a session come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ledlocal.values.events import Finished, Token


@dataclass(slots=True)
class Totals:
    """What a session's replies come to."""

    answers: int = 0
    thinking: int = 0
    answer: int = 0
    explored: int = 0
    changed: int = 0

    def add(self, end: Finished, instead: Finished | None = None, before: Sequence[Token] = ()) -> None:
        """Count one more reply. `instead`: the one that it goes on with, whose tokens it counts again; `before`: tokens
        of another one that it begins with, as a fork does."""
        known = Counter(token.phase for token in before)
        self.answers += instead is None
        self.thinking += end.thinking_tokens - known["thinking"] - (instead.thinking_tokens if instead else 0)
        self.answer += end.answer_tokens - known["answer"] - (instead.answer_tokens if instead else 0)
        self.explored += end.led.explored
        self.changed += end.led.changed

    def line(self) -> str:
        """All of it."""
        return (f"session   {self.answers} answers · {self.thinking} thinking + {self.answer} answer tokens · "
                f"explored {self.explored}, changed {self.changed}")
