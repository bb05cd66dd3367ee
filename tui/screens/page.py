"""A text that is too long for a line."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

from ledlocal.safe_text import safe_text
from ledlocal_tui.screens.once import Once


class Page(Once, ModalScreen[None]):
    """Scrolls; dismissed by any of its keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss(None)", "back")]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """The text."""
        with VerticalScroll(id="page"):
            yield Static(safe_text(self._text), markup=False)
        yield Footer()
