"""One screen on a terminal, without an engine."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from ledlocal_tui.screens.help import HelpScreen


class Viewer(App[None]):
    """Ends when its screen is dismissed."""

    CSS_PATH = "app.tcss"
    TITLE = "ledlocal"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 (Textual's own annotation is no ClassVar)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "quit", priority=True),
        Binding("f1", "help", "help"),
    ]

    def __init__(self, shown: Screen[Any]) -> None:
        super().__init__()
        self._shown = shown

    def on_mount(self) -> None:
        """Nothing else is to be seen."""
        self.push_screen(self._shown, lambda _: self.exit())

    def action_help(self) -> None:
        """The keys of the screen, and the signs."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen.of(self.screen))
