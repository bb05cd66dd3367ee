"""Lines that begin with a slash: commands of `ledlocal chat`, most of which are keys here."""

from __future__ import annotations

from ledlocal.slash import ALIASES, COMMANDS, LEAVE
from ledlocal.values.errors import BadInput

ACTIONS = {
    "/help": "app.help", "/clear": "screen.start_over", "/regen": "screen.again", "/continue": "screen.go_on",
    "/think": "app.settings", "/method": "app.settings", "/set": "app.settings", "/seed": "app.settings",
    "/load": "app.conversations", **dict.fromkeys(LEAVE, "app.quit")}


def action_of(line: str) -> str | None:
    """What a line asks for in the place of an answer; None: it is a message. Raises BadInput where it cannot be had."""
    word = line.split(maxsplit=1)[0]
    if not word.startswith("/") or "/" in word[1:]:
        return None
    name = ALIASES.get(word, word)
    if name in ACTIONS:
        return ACTIONS[name]
    raise BadInput(f"{word} is a command of `ledlocal chat` alone" if name in COMMANDS else f"no command {word}")
