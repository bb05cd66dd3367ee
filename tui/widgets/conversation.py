"""The turns of a conversation, one below the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import Key, Paste

from ledlocal.conversation import Turn
from ledlocal.said import Said
from ledlocal.values.events import Token
from ledlocal_tui.widgets.growing import Growing
from ledlocal_tui.widgets.prompt import Prompt
from ledlocal_tui.widgets.token_text import TokenText
from ledlocal_tui.widgets.turn import TurnView


class Turns(Vertical, Growing):
    """All of them; at least as high as what is seen, or the anchor would have the first ones at the bottom."""


class ConversationView(VerticalScroll, Growing):
    """Scrolls with what comes, unless the user has scrolled back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "screen.inspect", "inspect"),
        Binding("d", "app.duel", "duel"),
        Binding("escape,enter", "leave", "type"),
    ]

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

    def action_leave(self) -> None:
        """To the message."""
        self.screen.query_one(Prompt).take("")

    def on_key(self, event: Key) -> None:
        """Letters that are no keys here belong to the message."""
        if event.character and event.is_printable and event.key not in self.screen.active_bindings:
            event.stop()
            self.screen.query_one(Prompt).take(event.character)

    def on_paste(self, event: Paste) -> None:
        """So does what is pasted."""
        self.screen.query_one(Prompt).take(event.text)

    async def show_turns(self, turns: Iterable[tuple[Turn, Said | None]], kept: int = 0) -> None:
        """A view for each, in the place of those that are there, but for the first `kept`."""
        await self.cut(kept)
        await self.query_one(Turns).mount(*(TurnView(turn, said) for turn, said in turns))  # laid out once
        self.scroll_end(animate=False)

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

    async def cut(self, place: int) -> None:
        """Without the view of a turn, and all behind it."""
        await self.query_one(Turns).remove_children(self.turns[place:])

    def fold(self) -> None:
        """Fold every thought, or unfold them if all are."""
        folded = any(not view.has_class("-folded") for view in self.turns)
        for view in self.turns:
            view.fold(folded)
