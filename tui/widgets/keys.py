"""The keys that do something now, at the bottom of the screen."""

from __future__ import annotations

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.events import Resize
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

_FIRST = ("f1", "ctrl+c", "ctrl+e", "f2", "i", "f3", "d", "restart", "ctrl+g", "ctrl+n", "ctrl+q", "f4", "f5", "f6",
          "escape", "f7", "ctrl+r", "ctrl+l")
"""Keys, or an action in the place of its key."""
NARROW = 100
"""Columns below which there is no room for all of the chat."""


class Keys(Footer):
    """Function keys come first, help before all, or letters that do the same where they are keys; and the way out.
    What finds no room is to be found in the help."""

    def __init__(self, narrow: int = NARROW) -> None:
        """`narrow`: columns below which there is no room for all."""
        super().__init__()
        self._narrow = narrow

    def compose(self) -> ComposeResult:
        """Textual's, in our order, as many as there is room for."""
        keys = [one for one in super().compose() if isinstance(one, FooterKey)]  # we have no groups of keys
        palette = [one for one in keys if one.has_class("-command-palette")]
        room = self.app.size.width - sum(self._width(one) + 1 for one in palette)
        for key in sorted((one for one in keys if one not in palette), key=lambda one: rank(one.key, one.action)):
            if (width := self._width(key)) <= room:
                room -= width
                yield key
        yield from palette

    def _width(self, key: FooterKey) -> int:
        """Columns that it takes, with what stands between it and the next one."""
        return cell_len(f"{key.key_display} {key.description} ") + (not self.compact)

    def on_resize(self, event: Resize) -> None:
        """Closer together in a narrow terminal, and without the palette, which has the same again."""
        self.compact = event.size.width < self._narrow
        self.show_command_palette = not self.compact
        self.call_after_refresh(self.recompose)


def rank(key: str, action: str) -> int:
    """Which key comes first."""
    return next((i for i, one in enumerate(_FIRST) if one in (key, action)), len(_FIRST))
