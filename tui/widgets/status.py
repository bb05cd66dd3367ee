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

    def show(self, dialogue: Dialogue, every_layer: bool) -> None:
        """As it is now."""
        model, last = dialogue.loaded.model, dialogue.last
        used = len(last.finished.ids) + last.finished.prompt_tokens if last else 0
        thinking = dialogue.settings.sampling("thinking", dialogue.loaded)
        looks = " · every layer" if every_layer else ""
        self.update(safe_line(f"{model.name} · {used}/{model.context} tokens{looks} · "
                              f"{describe(thinking, 'thinking')} · tap {dialogue.loaded.tap}"))
