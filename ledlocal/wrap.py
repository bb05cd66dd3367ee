"""Streamed text on a terminal, its lines broken between words."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable

from wcwidth import wcswidth

from ledlocal.safe_text import safe_text

_PARTS = re.compile(r"\n|[^\S\n]+|\S+")


def terminal_columns() -> int:
    """Columns of the terminal as it is now; windows change size."""
    return shutil.get_terminal_size().columns


class WordWrap:
    """Styled text in, terminal output out: `put(text, style)` writes, `take_back(n)` erases the last n columns.

    A word comes in pieces. When it does not fit, what is already there of it is taken back and begins the next line.
    The last column stays free: there, terminals differ in where the cursor is.
    """

    def __init__(self, put: Callable[[str, str], None], take_back: Callable[[int], None],
                 columns: Callable[[], int] = terminal_columns) -> None:
        self._put, self._take_back, self._columns = put, take_back, columns
        self._column = 0
        self._word: list[tuple[str, str]] = []

    def write(self, text: str, style: str = "") -> None:
        """Write more text; control characters are shown, as everywhere."""
        for part in _PARTS.findall(safe_text(text)):
            if part == "\n":
                self._new_line()
            elif part.isspace():
                self._space(part, style)
            else:
                self._letters(part, style)

    def _new_line(self) -> None:
        self._put("\n", "")
        self._column, self._word = 0, []

    def _space(self, text: str, style: str) -> None:
        column = self._column
        for space in text:
            column += 8 - column % 8 if space == "\t" else _width(space)
        if column >= self._columns():
            self._new_line()
            return
        self._put(text, style)
        self._column, self._word = column, []

    def _letters(self, text: str, style: str) -> None:
        room = self._columns() - 1
        begun = sum(_width(piece) for piece, _ in self._word)
        if self._column + _width(text) > room and begun + _width(text) <= room and self._column > begun:
            word = self._word
            if begun:
                self._take_back(begun)
            self._new_line()
            for piece, piece_style in word:
                self._append(piece, piece_style)
        for letter in [text] if self._column + _width(text) <= room else text:
            if self._column + _width(letter) > room:
                self._new_line()
            self._append(letter, style)

    def _append(self, text: str, style: str) -> None:
        self._put(text, style)
        self._word.append((text, style))
        self._column += _width(text)


def _width(text: str) -> int:
    """Columns that safe text takes."""
    return max(wcswidth(text), 0)
