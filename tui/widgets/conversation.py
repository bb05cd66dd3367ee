"""The turns of a conversation, one below the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.events import Key, Paste

from ledlocal.conversation import Turn
from ledlocal.values.events import Token
from ledlocal.values.params import Request
from ledlocal_tui.widgets.prompt import Prompt
from ledlocal_tui.widgets.turn import TurnView


class ConversationView(VerticalScroll):
    """Scrolls with what comes, unless the user has scrolled back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "screen.inspect", "inspect"),
        Binding("d", "app.duel", "duel"),
        Binding("escape,enter", "leave", "type"),
    ]

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

    async def show_turns(self, turns: Iterable[Turn]) -> None:
        """A view for each, in the place of those that are there."""
        await self.query(TurnView).remove()
        for turn in turns:
            await self.add(TurnView(turn))

    async def add(self, view: TurnView) -> None:
        """One more."""
        await self.mount(view)
        self.scroll_end(animate=False)

    async def extend(self, view: TurnView, tokens: Sequence[Token]) -> None:
        """More of a reply."""
        follows = self.max_scroll_y - self.scroll_y <= 1
        await view.extend(tokens)
        if follows:
            self.scroll_end(animate=False)

    async def fork(self, place: int, turn: Turn, tokens: Sequence[Token], request: Request | None) -> TurnView:
        """Another view in the place of a turn's and all behind it: of a reply that begins with these tokens."""
        for old in self.turns[place:]:
            await old.remove()
        view = TurnView(turn)
        view.request = request
        await self.add(view)
        await view.extend(tokens)
        return view

    def fold(self) -> None:
        """Fold every thought, or unfold them if all are."""
        folded = any(not view.has_class("-folded") for view in self.turns)
        for view in self.turns:
            view.fold(folded)
