"""Lines that begin with a slash: the chat's commands, some of which are keys here."""

from __future__ import annotations

from ledlocal.slash import OF_A_DIALOGUE, parsed
from ledlocal.values.errors import BadInput

KEYS = {
    "/help": "app.help", "/clear": "screen.start_over", "/regen": "screen.again", "/continue": "screen.go_on",
    "/think": "app.settings", "/method": "app.settings", "/set": "app.settings", "/seed": "app.settings",
    "/load": "app.conversations", "/exit": "app.quit"}
"""Actions in the place of commands without anything behind them."""


def command_of(line: str) -> tuple[str, str] | None:
    """The command of a line, and what stands behind it; None: it is a message. Raises BadInput if there is none."""
    word = line.split(maxsplit=1)[0]
    if not word.startswith("/") or "/" in word[1:]:
        return None
    name, rest = parsed(line)
    if name not in (*OF_A_DIALOGUE, *KEYS):
        raise BadInput(f"{name} is a command of `ledlocal chat` alone")
    return name, rest
