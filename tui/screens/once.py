"""Screens that leave once."""

from __future__ import annotations

from typing import Any

from textual.await_complete import AwaitComplete
from textual.command import CommandPalette
from textual.screen import Screen


class Once:
    """Textual takes the screen in front away, whoever asks: a second Enter in one piece with the first one, as over
    ssh, took away the screen below."""

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Leave, unless it has left already."""
        assert isinstance(self, Screen)
        return Screen.dismiss(self, result) if self.is_active else AwaitComplete()


class Palette(Once, CommandPalette):
    """Textual's."""
