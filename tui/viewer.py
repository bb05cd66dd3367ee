"""One screen on a terminal, without an engine."""

from __future__ import annotations

from typing import Any

from textual.screen import Screen

from ledlocal_tui.application import Application


class Viewer(Application):
    """Ends when its screen is dismissed."""

    def __init__(self, shown: Screen[Any]) -> None:
        super().__init__()
        self._shown = shown

    def on_mount(self) -> None:
        """Nothing else is to be seen."""
        self.push_screen(self._shown, lambda _: self.exit())

    def show(self) -> None:
        """Run until then. Raises SystemExit where a signal ended it."""
        super().show()
        if self.return_code:
            raise SystemExit(self.return_code)
