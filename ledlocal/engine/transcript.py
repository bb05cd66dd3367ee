"""The text of a sequence as its tokens come: thinking and answer apart, markers left out, characters whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ledlocal.runtime.text import StopStrings, TextStream
from ledlocal.values.events import Phase


class Transcript:
    """Bytes of tokens in, text out.

    Text of the last tokens is held back while they may still become a thinking marker or a stop string.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._held: deque[tuple[Phase, bytes]] = deque()
        self._streams: dict[Phase, TextStream] = {"thinking": TextStream(), "answer": TextStream()}
        self._texts: dict[Phase, list[str]] = {"thinking": [], "answer": []}
        self._stop = StopStrings(stop)
        self._phase: Phase | None = None
        self.stopped = False

    def push(self, piece: bytes, phase: Phase, marker_length: int, pending: int) -> str:
        """Text that this token completed.

        `marker_length`: this many last tokens, this one included, turned out to be a marker; `pending`: this many may.
        """
        self._held.append((phase, piece))
        if marker_length:
            for _ in range(marker_length):
                self._held.pop()
        return self.release(pending) if len(self._held) > pending else ""

    def release(self, pending: int = 0) -> str:
        """Text that was held back, but for that of the last `pending` tokens."""
        return "".join(self._release(*self._held.popleft()) for _ in range(len(self._held) - pending))

    def close(self) -> str:
        """Text that was held back when the sequence ended."""
        return self.release() + self._flush()

    def text(self, phase: Phase) -> str:
        """All text of a phase, without the blank lines around it."""
        return "".join(self._texts[phase]).strip()

    def _release(self, phase: Phase, piece: bytes) -> str:
        text = self._flush() if phase != self._phase else ""
        self._phase = phase
        return text + self._keep(phase, self._streams[phase].push(piece))

    def _flush(self) -> str:
        """The end of a phase's text: half characters, and what looked like a stop string."""
        if self._phase is None:
            return ""
        text = self._keep(self._phase, self._streams[self._phase].flush())
        if self._phase == "answer" and not self.stopped:
            rest = self._stop.flush()
            self._texts["answer"].append(rest)
            text += rest
        return text

    def _keep(self, phase: Phase, text: str) -> str:
        if phase == "answer":
            if self.stopped:
                return ""
            text = self._stop.push(text)
            self.stopped = self._stop.matched is not None
        self._texts[phase].append(text)
        return text
