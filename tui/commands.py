"""Lines that begin with a slash: commands of `ledlocal chat`, most of which are keys here."""

from __future__ import annotations

from ledlocal.settings import Settings
from ledlocal.slash import ALIASES, COMMANDS, LEAVE
from ledlocal.values.errors import BadInput

SETTINGS = {"/think": "reasoning", "/method": "method", "/seed": "seed", "/set": None}
"""Command -> the setting that it changes; None: the one that it names."""
ACTIONS = {
    "/help": "app.help", "/clear": "screen.start_over", "/regen": "screen.again", "/continue": "screen.go_on",
    "/load": "app.conversations", **dict.fromkeys(SETTINGS, "app.settings"), **dict.fromkeys(LEAVE, "app.quit")}


def action_of(line: str) -> str | None:
    """What a line asks for in the place of an answer; None: it is a message. Raises BadInput where it cannot be had."""
    word, *rest = line.split()
    if not word.startswith("/") or "/" in word[1:]:
        return None
    name = ALIASES.get(word, word)
    if name not in ACTIONS:
        raise BadInput(f"{word} is a command of `ledlocal chat` alone" if name in COMMANDS else f"no command {word}")
    if not rest:
        return ACTIONS[name]
    if name not in SETTINGS:
        raise BadInput("/load takes no name here; f5 lists them" if name == "/load" else f"{word} takes nothing")
    return f"{ACTIONS[name]}{_change(SETTINGS[name], rest)}"


def _change(setting: str | None, rest: list[str]) -> tuple[str, ...]:
    """Name and value of a setting. Raises BadInput if it cannot be that, whatever the other settings are."""
    words = tuple(rest) if setting is None else (setting, " ".join(rest))
    if len(words) != 2:
        raise BadInput("/set takes a name and a value, or nothing: /set temp 0.8")
    Settings().with_value(*words).request(None)
    return words
