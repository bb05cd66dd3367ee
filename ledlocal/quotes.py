"""Three quotes around a message of several lines, as in Ollama's chat."""

from __future__ import annotations

QUOTES = '"""'


def is_open(text: str) -> bool:
    """Whether quotes that begin the text are not closed yet."""
    text = text.strip()
    return text.startswith(QUOTES) and (len(text) < 2 * len(QUOTES) or not text.endswith(QUOTES))


def unquoted(text: str) -> str:
    """The text between its quotes, or all of it."""
    text = text.strip()
    return text.removeprefix(QUOTES).removesuffix(QUOTES) if text.startswith(QUOTES) else text
