"""A line to type into."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Key
from textual.widget import Widget
from textual.widgets import Input


async def in_order(field: Widget, event: Key) -> None:
    """Carry out a key of a field at once.

    Textual has a field take letters at once, and its other keys only after they went up to the application: what came
    in one piece, as over ssh or typed fast, was mixed up.
    """
    for binding in field._bindings.key_to_bindings.get(event.key, ()):
        if await field.app.run_action(binding.action, field):
            event.prevent_default().stop()
            return


class Field(Input):
    """Takes keys in the order in which they were typed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "go")]

    async def _on_key(self, event: Key) -> None:
        await in_order(self, event)
