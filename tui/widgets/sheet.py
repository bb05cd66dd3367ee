"""A table of text that changes in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, TypeVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from ledlocal.safe_text import safe_line

LEAST = 9
"""Characters that a column which yields to others keeps."""
RowName = TypeVar("RowName", bound="tuple[object, ...]")


class Sheet(DataTable[Text]):
    """Rows by name; a row that changes keeps its place, and the cursor its row."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "open")]

    def __init__(self, *, id: str, opens: bool = True, yields: int | None = None) -> None:
        """`opens`: the enter key does something; `yields`: a column of words that are cut where others need the room.
        """
        super().__init__(id=id, cursor_type="row" if opens else "none")
        self._opens, self._yields, self._room = opens, yields, LEAST
        self._shown: dict[str, Sequence[str]] = {}
        self._names: dict[str, tuple[object, ...]] = {}
        self._left = 0
        self._widths: list[int] = []
        """Characters of the widest cell that was ever in a column."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        return self._opens and self.row_count > 0 if action == "select_cursor" else True

    def head(self, names: Sequence[str], left: int) -> None:
        """Columns, once; the first `left` hold words, the others numbers."""
        self._left, self._widths = left, [len(safe_line(name)) for name in names]
        for i, name in enumerate(names):
            self.add_column(Text(safe_line(name)), key=str(i))

    def put(self, rows: Mapping[RowName, Sequence[str]], *, only_these: bool = False) -> None:
        """Add or change rows; `only_these`: what is not among them goes."""
        if only_these:
            wanted, pointed = {str(name) for name in rows}, str(self.pointed)
            for key in [key for key in self._shown if key not in wanted]:
                self.remove_row(key)
                del self._shown[key], self._names[key]
            if pointed in self._shown:
                self.move_cursor(row=self.get_row_index(pointed), animate=False, scroll=False)
        self._widen(rows.values())
        if (cut := self._yields) is not None and self._room != (room := self._left_for(cut)):
            self._room = room
            for key, cells in self._shown.items():
                self.update_cell(key, str(cut), self._cell(cut, cells[cut]), update_width=True)
        for name, cells in rows.items():
            key = str(name)
            before = self._shown.get(key)
            if before is None:
                self.add_row(*(self._cell(i, text) for i, text in enumerate(cells)), key=key)
            else:
                for i, (old, new) in enumerate(zip(before, cells, strict=True)):
                    if old != new:
                        self.update_cell(key, str(i), self._cell(i, new), update_width=True)
            self._shown[key], self._names[key] = list(cells), name

    def _widen(self, rows: Iterable[Sequence[str]]) -> None:
        """Numbers stand at the right of their column, also those that are there already."""
        for row in rows:
            for i, text in enumerate(row):
                if len(text) > self._widths[i]:
                    self._widths[i] = len(text)
                    for key, cells in self._shown.items() if i >= self._left else ():
                        self.update_cell(key, str(i), self._cell(i, cells[i]), update_width=True)

    def _left_for(self, column: int) -> int:
        """Characters for a column beside all others and a scrollbar."""
        others = sum(self._widths) - self._widths[column] + 2 * self.cell_padding * len(self._widths)
        return max(LEAST, self.size.width - 1 - others)

    def _cell(self, column: int, text: str) -> Text:
        text = safe_line(text)
        if column == self._yields and len(text) > self._room:
            text = text[:self._room - 1].rstrip() + "…"
        return Text(text if column < self._left else text.rjust(self._widths[column]))

    def name_of(self, key: str | None) -> tuple[object, ...] | None:
        """Of a row that was chosen."""
        return None if key is None else self._names.get(key)

    @property
    def pointed(self) -> tuple[object, ...] | None:
        """Name of the row that the cursor is on."""
        if not self.row_count:
            return None
        return self.name_of(self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value)
