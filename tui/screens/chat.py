"""The conversation, and beside it what the model does between its layers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import Footer, Static

from ledlocal.dialogue import Dialogue, Exchange
from ledlocal.reply import Partial
from ledlocal.safe_text import safe_line, safe_text
from ledlocal.settings import describe
from ledlocal.values.errors import BadInput, EngineDied, LedlocalError, OutOfResources
from ledlocal.values.events import Notice, Prefilled, Started
from ledlocal_tui.answering import Answering, ids_of, look, text_of
from ledlocal_tui.feed import Feed
from ledlocal_tui.messages import Submitted
from ledlocal_tui.screens.inspector import Fork, Inspector
from ledlocal_tui.widgets.conversation import ConversationView
from ledlocal_tui.widgets.exploration import ExplorationPane
from ledlocal_tui.widgets.prompt import Prompt
from ledlocal_tui.widgets.strip import ExplorationStrip
from ledlocal_tui.widgets.token_text import TokenText
from ledlocal_tui.widgets.turn import TurnView

if TYPE_CHECKING:
    from ledlocal_tui.app import LedlocalApp

REDRAWS = 15
"""Per second, at most."""


class ChatScreen(Screen[None]):
    """One conversation with one model."""

    app: LedlocalApp
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "stop", "stop", priority=True),
        Binding("ctrl+e", "answer_now", "answer now", priority=True),
        Binding("ctrl+t", "fold", "fold", priority=True),
        Binding("ctrl+o", "mark", "marks", priority=True),
        Binding("ctrl+l", "layers", "every layer", priority=True),
        Binding("ctrl+r", "again", "again", priority=True),
        Binding("ctrl+g", "go_on", "go on", priority=True),
        Binding("ctrl+n", "start_over", "new", priority=True),
        Binding("f2", "inspect", "inspect"),
        Binding("i", "inspect", show=False),
        Binding("f3", "app.duel", "duel"),
        Binding("d", "app.duel", show=False),
    ]
    answering: reactive[Answering | None] = reactive(None, bindings=True)
    every_layer: reactive[bool] = reactive(False)
    """Every thinking token is projected, explored or not."""

    def __init__(self) -> None:
        super().__init__()
        self.dialogue: Dialogue | None = None
        """None until a model is loaded."""

    def compose(self) -> ComposeResult:
        """Status, conversation and pane, banner, prompt."""
        yield Static("", id="status", markup=False)
        with Horizontal(id="body"):
            yield ConversationView(id="conversation", can_focus=True)
            yield ExplorationPane()
        yield ExplorationStrip()
        yield Static("", id="banner", markup=False)
        yield Prompt()
        yield Footer()

    @property
    def conversation(self) -> ConversationView:
        """What was said."""
        return self.query_one(ConversationView)

    def on_mount(self) -> None:
        """Ready for a model."""
        self.query_one(Prompt).focus()
        self.set_interval(1 / REDRAWS, self._draw)
        self.say("loading ...")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        busy = self.answering is not None
        turns = self.dialogue.conversation.turns if self.dialogue else ()
        if action in ("stop", "answer_now"):
            return busy
        if action in ("again", "start_over"):
            return not busy and (bool(turns) or self.app.engine is None)
        if action in ("inspect", "mark"):
            return not (busy and action == "inspect") and self.conversation.last_said is not None
        return not busy and bool(turns and turns[-1].ids) if action == "go_on" else True

    async def begin(self, dialogue: Dialogue) -> None:
        """A model is loaded."""
        first, self.dialogue = self.dialogue is None, dialogue
        self.say("")
        if first:
            await self.show_conversation()
        self.say_notices(*dialogue.loaded.notices)
        self.show_status()
        self.refresh_bindings()

    async def show_conversation(self) -> None:
        """A view for every turn, in the place of those that are there."""
        assert self.dialogue is not None
        await self.conversation.show_turns(self.dialogue.conversation.turns)
        self.query_one(ExplorationPane).tally = self.query_one(ExplorationStrip).tally = None
        self.refresh_bindings()

    def say_notices(self, *more: str) -> None:
        """Beside `more`, what settings do not do here."""
        if self.dialogue is not None:
            for notice in (*more, *self.dialogue.settings.notices(self.dialogue.loaded)):
                self.app.notify(safe_line(notice), markup=False)

    def say(self, text: str) -> None:
        """In the line above the prompt, until something else is said."""
        banner = self.query_one("#banner", Static)
        banner.update(safe_text(text))
        banner.set_class(bool(text), "-said")

    def show_status(self) -> None:
        """Model, method and context, on the first line."""
        if self.dialogue is None:
            return
        model, thinking = self.dialogue.loaded.model, self.dialogue.settings.sampling("thinking", self.dialogue.loaded)
        used = len(last.finished.ids) + last.finished.prompt_tokens if (last := self.dialogue.last) else 0
        self.query_one("#status", Static).update(safe_line(
            f"{model.name} · {used}/{model.context} tokens · {describe(thinking, 'thinking')} · "
            f"tap {self.dialogue.loaded.tap}"))

    @on(Submitted)
    async def ask(self, event: Submitted) -> None:
        """Answer what the user typed."""
        if self.dialogue is None or self.answering is not None:
            self.query_one(Prompt).text = event.text
            self.say("the model is not ready" if self.dialogue is None else "it answers; ctrl+c stops it")
            return
        await self.answer(self.dialogue.new(event.text))

    async def answer(self, exchange: Exchange, view: TurnView | None = None) -> None:
        """Have a message answered, below `view` if it goes on with what is there."""
        assert self.dialogue is not None
        if view is None:  # whatever comes of it: there is a view for every turn
            view = TurnView(replace(exchange.turn, answer="", thinking=""))
            await self.conversation.add(view)
        try:
            request = self.dialogue.request(exchange)
        except BadInput as error:
            self.dialogue.cut(exchange, None, Partial())
            self.say(str(error))
            return
        if self.app.engine is None:
            self.dialogue.cut(exchange, request, Partial())
            self.say("no engine runs; ctrl+r loads the model again")
            return
        feed = Feed(self.app.engine, replace(request, detail="all" if self.every_layer else "forks"))
        view.request = view.request or feed.request
        self.answering = Answering(exchange, feed, view)
        self.query_one(ExplorationPane).tally = self.query_one(ExplorationStrip).tally = self.answering.tally
        self.say("")

    async def _draw(self) -> None:
        """Show what came since the last time."""
        now = self.answering
        if now is None:
            return
        ended = now.feed.ended
        events = now.feed.take()
        for event in events:
            if isinstance(event, Notice):
                self.app.notify(safe_line(event.text), markup=False)
            elif isinstance(event, Prefilled):
                self.say(f"reading the prompt: {event.cached} of {event.prompt_tokens} tokens")
            elif isinstance(event, Started):
                self.say("")
        tokens = now.take(events)
        if tokens or now.finished:
            await self.conversation.extend(now.view, tokens)
            self.query_one(ExplorationPane).show_progress(now.seconds, now.speed, now.thinking)
            self.query_one(ExplorationStrip).show_progress(now.speed)
        if ended and not events:
            await self._end(now)

    async def _end(self, now: Answering) -> None:
        """The reply has ended, by itself or not."""
        assert self.dialogue is not None
        self.answering = None
        if (reply := now.reply) is None:
            error = now.feed.error or EngineDied("the engine ended a reply without finishing it")
            self.dialogue.cut(now.exchange, now.feed.request, now.partial)
            await now.view.finish(str(error))
            self._failed(error)
            return
        self.dialogue.answered(now.exchange, reply)
        await now.view.finish(reply.statistics())
        self.show_status()
        try:
            self.dialogue.save()
        except OutOfResources as error:
            self.say(str(error))
        self.refresh_bindings()

    def _failed(self, error: LedlocalError) -> None:
        if isinstance(error, EngineDied):
            self.app.drop_engine()
            self.say(f"{error}\nthe conversation is kept; ctrl+r loads the model again")
        else:
            self.say(str(error))
        self.refresh_bindings()

    def action_stop(self) -> None:
        """End the reply; what was said of it stays."""
        if self.app.engine is not None:
            self.app.engine.cancel()

    def action_answer_now(self) -> None:
        """End the thinking."""
        if self.app.engine is not None:
            self.app.engine.answer_now()

    def action_fold(self) -> None:
        """Fold or unfold every thought."""
        self.conversation.fold()

    async def action_mark(self) -> None:
        """Show answers token by token with their marks, or as Markdown."""
        await self.conversation.mark()

    def action_layers(self) -> None:
        """From the next reply on, look into the layers at every thinking token, or only where it explores."""
        self.every_layer = not self.every_layer
        self.app.notify("every thinking token is projected from the next answer on: slower" if self.every_layer else
                        "only explored tokens are projected", markup=False)

    async def action_again(self) -> None:
        """Answer the last message again; while no engine runs, load one."""
        if self.app.engine is None:
            self.say("loading ...")
            self.app.load()
        elif self.dialogue is not None and self.dialogue.conversation.turns:
            await self.conversation.turns[-1].remove()
            await self.answer(self.dialogue.repeated())

    async def action_go_on(self) -> None:
        """Go on with the last answer where it was stopped."""
        if self.dialogue is not None:
            await self.answer(self.dialogue.continued(), self.conversation.turns[-1])

    async def action_inspect(self) -> None:
        """Look at the last reply token by token."""
        if view := self.conversation.last_said:
            first = next((i for i, token in enumerate(view.tokens) if token.explored), 0)
            await self._inspect(view, first)

    @on(TokenText.Picked)
    async def inspect_picked(self, event: TokenText.Picked) -> None:
        """Look at the token that was clicked on."""
        if self.answering is None:
            await self._inspect(*self.conversation.place_of(event.control, event.index))

    async def _inspect(self, view: TurnView, at: int) -> None:
        engine, request = self.app.engine, view.request
        project = None if engine is None or request is None else partial(look, engine, request, view.tokens)

        async def branch(fork: Fork | None) -> None:
            if fork is not None:
                await self._branch(view, fork)

        await self.app.push_screen(Inspector(view.tokens, at, project), branch)

    async def _branch(self, view: TurnView, fork: Fork) -> None:
        """Go on with another token; the conversation up to now stays in its file."""
        assert self.dialogue is not None
        views = self.conversation.turns
        place = views.index(view)
        exchange = self.dialogue.forked(place, ids_of(fork.tokens), text_of(fork.tokens, "thinking"),
                                        text_of(fork.tokens, "answer"))
        for old in views[place:]:
            await old.remove()
        fresh = TurnView(replace(exchange.turn, answer="", thinking=""))
        fresh.request = view.request
        await self.conversation.add(fresh)
        await fresh.extend(fork.tokens)
        await self.answer(exchange, fresh)

    async def action_start_over(self) -> None:
        """A new conversation."""
        if self.dialogue is not None:
            self.dialogue.start_over()
            await self.show_conversation()
