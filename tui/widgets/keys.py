"""The keys that do something now, at the bottom of the screen."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.events import Resize
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

_FIRST = ("f1", "ctrl+c", "ctrl+e", "f2", "i", "f3", "d", "f4", "f5", "f6", "f7", "ctrl+q", "escape", "ctrl+g",
          "ctrl+r", "ctrl+n", "ctrl+l")
NARROW = 100
"""Columns below which there is no room for all."""


class Keys(Footer):
    """Function keys come first, help before all, or letters that do the same where they are keys; and the way out.
    What finds no room is to be found in the help."""

    def compose(self) -> ComposeResult:
        """Textual's, in our order."""
        keys = list(super().compose())
        yield from sorted(keys, key=lambda one: isinstance(one, FooterKey) and rank(one.key))

    def on_resize(self, event: Resize) -> None:
        """Closer together in a narrow terminal, and without the palette, which has the same again."""
        self.compact = event.size.width < NARROW
        self.show_command_palette = not self.compact


def rank(key: str) -> int:
    """Which key comes first."""
    return _FIRST.index(key) if key in _FIRST else len(_FIRST)
