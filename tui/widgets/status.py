"""The first line: model, method, and how full the context is."""

from __future__ import annotations

from textual.widgets import Static

from ledlocal.dialogue import Dialogue
from ledlocal.safe_text import safe_line
from ledlocal.settings import describe


class Status(Static):
    """Says what the next answer comes from."""

    def __init__(self) -> None:
        super().__init__("", id="status", markup=False)

    def show(self, dialogue: Dialogue, every_layer: bool, used: int | None) -> None:
        """As it is now; `used`: tokens of the context, None: nobody knows."""
        model = dialogue.loaded.model
        thinking = dialogue.settings.sampling("thinking", dialogue.loaded)
        looks = " · every layer" if every_layer else ""
        self.update(safe_line(f"{model.name} · {'?' if used is None else used}/{model.context} tokens{looks} · "
                              f"{describe(thinking, 'thinking')} · tap {dialogue.loaded.tap}"), layout=False)
