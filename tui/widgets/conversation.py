"""The turns of a conversation, one below the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll

from ledlocal.conversation import Turn
from ledlocal.values.events import Token
from ledlocal_tui.widgets.growing import Growing
from ledlocal_tui.widgets.token_text import TokenText
from ledlocal_tui.widgets.turn import TurnView


class Turns(Vertical, Growing):
    """All of them; at least as high as what is seen, or the anchor would have the first ones at the bottom."""


class ConversationView(VerticalScroll, Growing):
    """Scrolls with what comes, unless the user has scrolled back."""

    def compose(self) -> ComposeResult:
        """Empty."""
        yield Turns()

    def on_mount(self) -> None:
        """The layout keeps the end in sight: to scroll after it would draw everything twice."""
        self.anchor()

    @property
    def turns(self) -> list[TurnView]:
        """From the first to the last."""
        return list(self.query(TurnView))

    @property
    def last_said(self) -> TurnView | None:
        """The last turn that has tokens."""
        return next((view for view in reversed(self.turns) if view.tokens), None)

    async def show_turns(self, turns: Iterable[Turn]) -> None:
        """A view for each, in the place of those that are there."""
        await self.query(TurnView).remove()
        for turn in turns:
            await self.add(TurnView(turn))

    async def add(self, view: TurnView) -> None:
        """One more."""
        await self.query_one(Turns).mount(view)
        self.scroll_end(animate=False)

    async def extend(self, view: TurnView, tokens: Sequence[Token]) -> None:
        """More of a reply."""
        await view.extend(tokens)

    def place_of(self, text: TokenText, index: int) -> tuple[TurnView, int]:
        """The turn of a text's token, and its place there: that of the token itself, equal ones may come before."""
        view = next(one for one in text.ancestors if isinstance(one, TurnView))
        return view, next(i for i, token in enumerate(view.tokens) if token is text.tokens[index])

    async def mark(self) -> None:
        """Show every answer's tokens with their marks, or as Markdown if all are."""
        answers = [view.answer for view in self.turns if view.answer.markable]
        marked = any(not answer.marked for answer in answers)
        for answer in answers:
            await answer.mark(marked)

    def fold(self) -> None:
        """Fold every thought, or unfold them if all are."""
        folded = any(not view.has_class("-folded") for view in self.turns)
        for view in self.turns:
            view.fold(folded)
