"""Three quotes around a message of several lines, as in Ollama's chat."""

from __future__ import annotations

QUOTES = '"""'


def is_open(text: str) -> bool:
    """Whether quotes that begin the text are not closed yet."""
    return text.lstrip().startswith(QUOTES) and text.count(QUOTES) == 1


def unquoted(text: str) -> str:
    """The text between quotes around all of it; any other as it is, such as code that begins with a docstring."""
    bare = text.strip()
    around = bare.startswith(QUOTES) and bare.endswith(QUOTES) and bare.count(QUOTES) == 2
    return bare.removeprefix(QUOTES).removesuffix(QUOTES) if around else text
