"""What a reply says after its thought."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Markdown

from ledlocal.safe_text import safe_text
from ledlocal.values.events import Token
from ledlocal_tui.widgets.growing import Growing
from ledlocal_tui.widgets.token_text import TokenText

REST = 3
"""After drawing Markdown, so many times as long as that took: every piece has all of its paragraphs laid out again."""
UNSEEN_S = 1.0
"""Between two drawings while another screen is in front."""


class Answer(Vertical, Growing):
    """Markdown, or tokens with the marks of explored ones."""

    def __init__(self, text: str) -> None:
        """`text` was read from a file: it has no tokens, and stays Markdown."""
        super().__init__()
        self._text = text
        self.tokens: list[Token] = []
        self._explored = False
        """One of them was explored."""
        self._drawn = 0
        """Tokens in the Markdown."""
        self._due = 0.0
        """When Markdown may be drawn again."""
        self._drawing = asyncio.Lock()
        """A key may ask for it while it is drawn."""

    def compose(self) -> ComposeResult:
        """Both; one is seen."""
        yield Markdown(safe_text(self._text), open_links=False)
        yield TokenText()

    @property
    def marked(self) -> bool:
        """Tokens are seen."""
        return self.has_class("-marked")

    @property
    def markable(self) -> bool:
        """All of it is there as tokens."""
        return bool(self.tokens) and not self._text

    async def mark(self, marked: bool) -> None:
        """Show tokens, or Markdown."""
        self.set_class(marked and self.markable, "-marked")
        await self._draw()

    async def extend(self, tokens: Sequence[Token]) -> None:
        """More of it. The first explored token has the marks shown."""
        self.tokens += tokens
        if not self._explored and any(token.explored for token in tokens):
            self._explored = True
            await self.mark(True)
        elif self.marked or time.monotonic() >= self._due:
            await self._draw()

    async def finish(self) -> None:
        """Nothing more comes."""
        await self._draw()

    async def _draw(self) -> None:
        """All that has come, in the form that is seen."""
        if self.marked:
            marks = self.query_one(TokenText)
            marks.extend(self.tokens[len(marks.tokens):])
            return
        async with self._drawing:
            markdown, begin = self.query_one(Markdown), time.monotonic()
            text = "".join(token.text for token in self.tokens[self._drawn:])
            self._drawn, self._due = len(self.tokens), begin + UNSEEN_S
            if text:
                await markdown.append(safe_text(text if markdown.source else text.lstrip()))
                self.call_after_refresh(self._rest, begin)

    def _rest(self, begin: float) -> None:
        now = time.monotonic()
        self._due = now + REST * (now - begin)
