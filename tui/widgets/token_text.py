"""Text token by token: marks on explored ones, a cursor, and no slower at the thirty thousandth token."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import ClassVar

from rich.segment import Segment
from textual.events import Click
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from ledlocal.safe_text import safe_text
from ledlocal.values.events import Token
from ledlocal_tui.widgets.growing import Growing
from ledlocal_tui.wrapping import Lines, Piece

SAME, CHANGED = "◦", "•"
"""Behind an explored token: it came out the same as without exploring; another one was drawn."""
PUT = "▸"
"""Before the first of tokens that were put there, not drawn."""
_TAB = " " * 4


class TokenText(Growing):
    """Tokens as they come, wrapped between words. Only lines that are seen are drawn."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "token-text--plain", "token-text--same", "token-text--changed", "token-text--forced", "token-text--cursor"}

    class Picked(Message):
        """The user clicked on a token."""

        def __init__(self, text: TokenText, index: int) -> None:
            super().__init__()
            self.text, self.index = text, index
            """Its place among the tokens of `text`."""

        @property
        def control(self) -> TokenText:
            """Whose token it is."""
            return self.text

    def __init__(self, tokens: Iterable[Token] = (), *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.tokens: list[Token] = []
        self._wrapped = Lines(80)
        self._blank = True
        """Nothing is to be seen yet."""
        self._cursor: int | None = None
        self.extend(tokens)

    def extend(self, tokens: Iterable[Token]) -> None:
        """Add tokens at the end."""
        before = len(self._wrapped.lines)
        for token in tokens:
            self._wrap(token, len(self.tokens))
            self.tokens.append(token)
        if not self.is_mounted:
            return
        if len(self._wrapped.lines) != before:
            self.refresh(layout=True)
        else:
            self.refresh(Region(0, before - 1, self.size.width, 1))

    @property
    def cursor(self) -> int | None:
        """Index of the token that is pointed at; None: none is."""
        return self._cursor

    @cursor.setter
    def cursor(self, index: int | None) -> None:
        self._cursor = index
        self.refresh()

    def line_of(self, index: int) -> int:
        """Line on which a token stands, or would if it has no text."""
        return next((y for y, line in enumerate(self._wrapped.lines) if line and line[-1].token >= index),
                    len(self._wrapped.lines) - 1)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many lines as the text takes at this width."""
        if width != self._wrapped.width and width > 0:
            self.wrap_anew(width)
        return len(self._wrapped.lines)

    def _wrap(self, token: Token, index: int) -> None:
        text = self.shown(token, index)
        if self._blank:
            text = text.lstrip()
        self._blank = self._blank and not text
        self._wrapped.add(text, index)

    def wrap_anew(self, width: int | None = None) -> None:
        """Break all of it into lines again."""
        self._wrapped, self._blank = Lines(width or self._wrapped.width), True
        for i, token in enumerate(self.tokens):
            self._wrap(token, i)

    def render_line(self, y: int) -> Strip:
        """One line of the text, what looks the same in one piece: every piece costs colour codes."""
        line = self._wrapped.lines[y] if y < len(self._wrapped.lines) else []
        segments = [Segment("".join(piece.text for piece in run), self.get_component_rich_style(f"token-text--{kind}"))
                    for kind, run in groupby(line, self._look)]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _look(self, piece: Piece) -> str:
        """The space before a word is no part of what is underlined or reversed, unless it is all that there is."""
        space = piece.text.isspace() and not self.tokens[piece.token].text.isspace()
        return "plain" if space else self.kind(piece.token)

    def kind(self, index: int) -> str:
        """Which of the component classes a token has."""
        token = self.tokens[index]
        if index == self._cursor:
            return "cursor"
        if token.explored:
            return "changed" if token.changed else "same"
        return "forced" if token.forced else "plain"

    def shown(self, token: Token, index: int) -> str:
        """Its text and sign."""
        text = safe_text(token.text).replace("\t", _TAB)
        if token.marker:
            return text
        if token.forced and not (index and self.tokens[index - 1].forced):
            core = text.lstrip()
            return f"{text[:len(text) - len(core)]}{PUT}{core}"
        if not token.explored:
            return text
        core = text.rstrip()
        return f"{core}{CHANGED if token.changed else SAME}{text[len(core):]}"

    def on_click(self, event: Click) -> None:
        """Point at what was clicked on."""
        place = event.get_content_offset(self)
        if place is None or place.y >= len(self._wrapped.lines):
            return
        column = 0
        for piece in self._wrapped.lines[place.y]:
            column += piece.width
            if place.x < column:
                self.post_message(self.Picked(self, piece.token))
                return
