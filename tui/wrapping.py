"""Tokens broken into lines between words, one after the other: adding a token costs the same at the first and the
thirty thousandth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.cells import cell_len, chop_cells

_ATOM = re.compile(r"\n|[^\S\n]+|\S+")


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one token on one line."""

    text: str
    token: int
    """Which token, from 0."""
    width: int
    """Columns."""


@dataclass(slots=True)
class Lines:
    """Text that grows at its end, on lines of at most `width` columns."""

    width: int
    lines: list[list[Piece]] = field(default_factory=lambda: [[]])
    _columns: int = 0
    """Of the last line."""
    _word: int = 0
    """Where the last line's last word begins: index of its first piece."""

    def add(self, text: str, token: int) -> None:
        """Text of a token; it goes on with the word that the one before began."""
        for atom in _ATOM.findall(text):
            if atom == "\n":
                self._new_line([])
            elif atom.isspace():
                self._space(Piece(atom, token, cell_len(atom)))
            else:
                for part in self._fitting(atom):
                    self._put(Piece(part, token, cell_len(part)))

    def _fitting(self, atom: str) -> Iterator[str]:
        yield from chop_cells(atom, self.width) if cell_len(atom) > self.width else (atom,)

    def _space(self, piece: Piece) -> None:
        """Between words; what does not fit is not carried to the next line."""
        if self._columns + piece.width <= self.width:
            self.lines[-1].append(piece)
            self._columns += piece.width
        else:
            self._columns = self.width
        self._word = len(self.lines[-1])

    def _put(self, piece: Piece) -> None:
        line = self.lines[-1]
        if self._columns + piece.width > self.width:
            word = line[self._word:]
            if self._word and sum(part.width for part in word) + piece.width <= self.width:
                del line[self._word:]
                self._new_line(word)
            else:  # a word longer than a line
                self._new_line([])
            line = self.lines[-1]
        line.append(piece)
        self._columns += piece.width

    def _new_line(self, begun: list[Piece]) -> None:
        self.lines.append(begun)
        self._columns = sum(part.width for part in begun)
        self._word = 0
