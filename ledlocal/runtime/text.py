"""Text out of a stream of tokens: whole characters only, and nothing of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Bytes of tokens in, text out. A character split over tokens appears with its last byte.

    Invalid bytes become U+FFFD, one per maximal part of a character (Unicode 15, section 3.9), and swallow nothing.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, data: bytes) -> str:
        """The text that these bytes complete."""
        return self._decoder.decode(data)

    def flush(self) -> str:
        """The end: U+FFFD if the stream stopped inside a character."""
        return self._decoder.decode(b"", final=True)


class StopStrings:
    """Ends a text at the stop string that is complete first; of those that end together, the longest.

    Text that may be the beginning of a stop string is held back, so nothing of one is ever given out, and the result
    does not depend on how the text was cut into tokens.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Raises ValueError on an empty stop string."""
        if "" in stops:
            raise ValueError("a stop string must not be empty")
        self._stops = tuple(stops)
        self._starts = {s[:i] for s in stops for i in range(1, len(s))}
        self._longest = max(map(len, stops), default=1) - 1
        self._held = ""
        self.matched: str | None = None
        """The stop string that ended the text."""

    def push(self, text: str) -> str:
        """The text that is now certain to come before any stop string; empty once one matched."""
        if self.matched is not None:
            return ""
        if not self._stops:
            return text
        text = self._held + text
        found = [(start + len(s), start, s) for s in self._stops if (start := text.find(s)) >= 0]
        if found:
            _, start, self.matched = min(found)
            self._held = ""
            return text[:start]
        keep = next((k for k in range(min(self._longest, len(text)), 0, -1) if text[-k:] in self._starts), 0)
        self._held = text[len(text) - keep:]
        return text[:len(text) - keep]

    def flush(self) -> str:
        """The text held back, when no more will come."""
        held, self._held = self._held, ""
        return held
