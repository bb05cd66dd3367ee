"""The parts of the chat screen, and what stands in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widgets import Static

from ledlocal.dialogue import Dialogue
from ledlocal.safe_text import safe_line, safe_text
from ledlocal.said import Said
from ledlocal.values.params import Detail
from ledlocal_tui.tally import Tally
from ledlocal_tui.watch import Watch
from ledlocal_tui.widgets.conversation import ConversationView
from ledlocal_tui.widgets.exploration import ExplorationPane
from ledlocal_tui.widgets.keys import Keys
from ledlocal_tui.widgets.prompt import Prompt
from ledlocal_tui.widgets.status import Status
from ledlocal_tui.widgets.strip import ExplorationStrip

if TYPE_CHECKING:
    from ledlocal_tui.app import LedlocalApp


def said_in_all(said: Said) -> Tally:
    """What a reply came to that has ended."""
    tally = Tally.of(said.tokens, said.request.answer.led.scope == "all")
    tally.ended = True
    return tally


class ChatLayout(Screen[None]):
    """A dialogue to be seen."""

    app: LedlocalApp

    def __init__(self) -> None:
        super().__init__()
        self.dialogue: Dialogue | None = None
        """None until a model is loaded."""
        self.looking = Watch()
        self.banner, self._passing = "", False

    def compose(self) -> ComposeResult:
        """Status, conversation and pane, banner, prompt."""
        yield Status()
        with Horizontal(id="body"):
            yield ConversationView(id="conversation", can_focus=True)
            yield ExplorationPane()
        yield ExplorationStrip()
        yield Static("", id="banner", markup=False)
        yield Prompt()
        yield Keys()

    @property
    def conversation(self) -> ConversationView:
        """What was said."""
        return self.query_one(ConversationView)

    def on_mount(self) -> None:
        """Ready to type."""
        self.query_one(Prompt).focus()

    @property
    def detail(self) -> Detail:
        """Which tokens are looked into."""
        return self.looking.detail(self.dialogue.settings.detail if self.dialogue else "forks")

    async def show_conversation(self, kept: int = 0) -> None:
        """A view for every turn, in the place of those that are there, but for the first `kept`."""
        assert self.dialogue is not None
        dialogue = self.dialogue
        turns = dialogue.conversation.turns
        await self.conversation.show_turns(
            [(turn, dialogue.said(place)) for place, turn in enumerate(turns)][kept:], kept)
        last, said = dialogue.last, None
        if turns:  # a view may remember more than the dialogue does
            said = dialogue.said(len(turns) - 1) or self.conversation.turns[-1].said
        self.show_tally(None if said is None else said_in_all(said))
        if said is not None and last is not None:
            self.show_progress(last.finished.decode_s, last.finished.tokens_per_s or 0.0, False)
        self.show_status()

    def show_tally(self, tally: Tally | None) -> None:
        """The numbers of a reply, in the place of another's; None: of none."""
        self.query_one(ExplorationPane).tally = self.query_one(ExplorationStrip).tally = tally

    def show_progress(self, seconds: float, speed: float, thinking: bool) -> None:
        """What came meanwhile: seconds since the first token, tokens per second, and the phase."""
        self.query_one(ExplorationPane).show_progress(seconds, speed, thinking, self.looking.cost)
        self.query_one(ExplorationStrip).show_progress(speed, self.looking.cost)

    def say_notices(self, *more: str) -> None:
        """Beside `more`, what settings do not do here."""
        if self.dialogue is not None:
            for notice in (*more, *self.dialogue.settings.notices(self.dialogue.loaded)):
                self.app.notify(safe_line(notice), markup=False)

    def say(self, text: str, passing: bool = False) -> str:
        """In the line above the prompt, until something else is said, or a reply begins or ends if it is but `passing`;
        what was said before."""
        before, self.banner, self._passing = self.banner, text, passing
        banner = self.query_one("#banner", Static)
        banner.update(safe_text(text))
        banner.set_class(bool(text), "-said")
        return before

    def unsay(self) -> None:
        """What was said in passing is over."""
        if self._passing:
            self.say("")

    def show_status(self) -> None:
        """Model, method and context, on the first line."""
        if self.dialogue is not None:
            self.query_one(Status).show(self.dialogue, self.detail == "all", self.used)

    @property
    def full(self) -> bool:
        """The context has no room for another token."""
        return self.dialogue is not None and (self.used or 0) >= self.dialogue.loaded.model.context

    @property
    def used(self) -> int | None:
        """Tokens in the context; None where this session does not know."""
        if self.dialogue is None or (last := self.dialogue.last) is None:
            return 0 if self.dialogue is None or not self.dialogue.conversation.turns else None
        return last.finished.prompt_tokens + len(last.finished.ids)
