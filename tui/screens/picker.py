"""One of many names: typed in part, or pointed at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from ledlocal.safe_text import safe_line
from ledlocal_tui.screens.once import Once
from ledlocal_tui.widgets.field import Field


class Picker(Once, ModalScreen[str | None]):
    """Dismissed with a name of the list, with what was typed if nothing in the list matches, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "back"),
        Binding("down", "move(1)", "choose", key_display="↑ ↓", priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
    ]

    def __init__(self, title: str, names: Sequence[tuple[str, ...]], empty: str, *, free: bool = False) -> None:
        """`names`: each with what is told of it; `empty`: said where there are none; `free`: another name may be typed.
        """
        super().__init__()
        self._title, self._free, self._empty = title, free, empty
        cells = [[safe_line(cell) for cell in row] for row in names]
        widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
        self._names = [(row[0], "  ".join(map(set_cell_size, told, widths)).rstrip())
                       for row, told in zip(names, cells, strict=True)]

    def compose(self) -> ComposeResult:
        """A field and a list, or why nothing is in it."""
        with Vertical(id="picker"):
            yield Static(self._title, id="title", markup=False)
            yield Field(placeholder="type a part of it")
            yield Static("", id="said", markup=False)
            yield OptionList()
            yield Footer()

    def on_mount(self) -> None:
        """Everything is in the list."""
        self._fill("")

    @on(Input.Changed)
    def filter(self, event: Input.Changed) -> None:
        """Only what has every word that was typed."""
        self._fill(event.value)

    def _fill(self, typed: str) -> None:
        words = typed.lower().split()
        shown = [(i, line) for i, (_, line) in enumerate(self._names) if all(word in line.lower() for word in words)]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(Content(line), id=str(i)) for i, line in shown])
        options.highlighted = 0 if shown else None
        none = "enter takes what is typed" if typed and self._free else "nothing has that" if typed else self._empty
        self.query_one("#said", Static).update("" if shown else none)

    def action_move(self, step: int) -> None:
        """In the list, wherever the cursor is."""
        options = self.query_one(OptionList)
        if options.option_count:
            options.highlighted = ((options.highlighted or 0) + step) % options.option_count

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """What is pointed at, or what was typed."""
        options = self.query_one(OptionList)
        if options.highlighted is not None:
            self._take(options.get_option_at_index(options.highlighted))
        elif self._free and event.value.strip():
            self.dismiss(event.value.strip())

    @on(OptionList.OptionSelected)
    def selected(self, event: OptionList.OptionSelected) -> None:
        """By mouse."""
        self._take(event.option)

    def _take(self, option: Option) -> None:
        assert option.id is not None
        self.dismiss(self._names[int(option.id)][0])
