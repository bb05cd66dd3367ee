"""The conversation, and beside it what the model does between its layers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from ledlocal.dialogue import Dialogue, Exchange
from ledlocal.models import DEMO
from ledlocal.safe_text import safe_line
from ledlocal.said import Said
from ledlocal.values.errors import BadInput, EngineDied, LedlocalError, OutOfResources
from ledlocal.values.events import Notice, Prefilled, Started, Token
from ledlocal_tui.answering import Answering, look
from ledlocal_tui.commands import action_of
from ledlocal_tui.feed import Feed
from ledlocal_tui.messages import Submitted
from ledlocal_tui.screens.inspector import Fork, Inspector, first_fork
from ledlocal_tui.screens.layout import ChatLayout
from ledlocal_tui.widgets.prompt import Prompt
from ledlocal_tui.widgets.token_text import TokenText
from ledlocal_tui.widgets.turn import TurnView

REDRAWS = 15
"""Per second, at most."""


class ChatScreen(ChatLayout):
    """One conversation with one model: what keys do, and replies as they come."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "stop", "stop", priority=True),
        Binding("ctrl+e", "answer_now", "answer now", priority=True),
        Binding("ctrl+t", "fold", "fold", priority=True),
        Binding("ctrl+o", "mark", "marks", priority=True),
        Binding("ctrl+l", "layers", "every layer", priority=True),
        Binding("ctrl+r", "again", "again", priority=True),
        Binding("ctrl+g", "go_on", "go on", priority=True),
        Binding("ctrl+n", "start_over", "new", priority=True),
        Binding("f2", "screen.inspect", "inspect"),
        Binding("f3", "app.duel", "duel"),
    ]
    answering: reactive[Answering | None] = reactive(None, bindings=True)
    _asking = False
    """A message is about to be sent."""

    def on_mount(self) -> None:
        """Ready for a model."""
        self.set_interval(1 / REDRAWS, self._draw)
        self.say("loading ...")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        busy = self.busy
        turns = self.dialogue.conversation.turns if self.dialogue else ()
        if action in ("stop", "answer_now"):
            return busy
        if action in ("again", "start_over"):
            return not busy and (bool(turns) or self.app.engine is None)
        if action in ("inspect", "mark"):
            return not (busy and action == "inspect") and self.conversation.last_said is not None
        if action == "layers":  # a trace of all of them has them anyhow
            return self.dialogue is None or self.dialogue.settings.detail != "all"
        return not busy and bool(turns and turns[-1].ids) if action == "go_on" else True

    @property
    def used(self) -> int:
        """Tokens in the context, of what is being said, too."""
        return super().used if self.answering is None else self.answering.used

    @property
    def busy(self) -> bool:
        """A message is being answered, or about to be."""
        return self.answering is not None or self._asking

    async def begin(self, dialogue: Dialogue) -> None:
        """A model is loaded."""
        first, self.dialogue = self.dialogue is None, dialogue
        self.say("")
        if first:
            await self.show_conversation()
        for place, view in enumerate(self.conversation.turns):
            view.request = view.request if dialogue.said(place) else None  # another model can look at it no more
        if Path(dialogue.loaded.model.path) == DEMO:
            self.query_one(Prompt).placeholder = "A number puzzle, one per conversation: Use 3, 4, 5 and 7 to make 30."
        self.say_notices(*dialogue.loaded.notices)
        self.show_status()
        self.refresh_bindings()

    @on(Submitted)
    async def ask(self, event: Submitted) -> None:
        """Answer what the user typed, or carry it out."""
        try:
            action = action_of(event.text)
        except BadInput as error:
            self._refuse(event.text, str(error))
        else:
            if action is not None:
                if not await self.app.run_action(action, self):
                    self._refuse(event.text, "not now")
            elif self.dialogue is None or self.busy:
                self._refuse(event.text, "the model is not ready" if self.dialogue is None else
                             "it answers; ctrl+c stops it")
            else:
                await self.answer(self.dialogue.new(event.text))

    def _refuse(self, text: str, why: str) -> None:
        self.query_one(Prompt).give_back(text)
        self.say(why)

    async def answer(self, exchange: Exchange, view: TurnView | None = None) -> None:
        """Have a message answered, below `view` if it goes on with what is there."""
        self._asking = True  # before anything is waited for: another key may come meanwhile
        try:
            await self._ask_engine(exchange, view)
        finally:
            self._asking = False

    async def _ask_engine(self, exchange: Exchange, view: TurnView | None) -> None:
        assert self.dialogue is not None
        if view is None:  # whatever comes of it: there is a view for every turn
            view = TurnView(exchange.turn, exchange.said)
            await self.conversation.add(view)
        try:
            request = self.dialogue.request(exchange)
        except BadInput as error:
            self.dialogue.cut(exchange, None, ())
            self.say(str(error))
            return
        if self.app.engine is None:
            self.dialogue.cut(exchange, request, ())
            self.say("no engine runs; ctrl+r loads the model again")
            return
        feed = Feed(self.app.engine, replace(request, detail=self.detail))
        view.request = view.request or feed.request
        self.looking.begin()
        self.answering = Answering(exchange, feed, view, self.looking)
        self.show_tally(self.answering.tally)
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
                if self.detail != now.feed.request.detail:  # the key was pressed before the engine knew of the request
                    self._watch()
        tokens = now.take(events)
        self._record(tokens)
        if tokens or now.finished:
            await self.conversation.extend(now.view, tokens)
            self.show_progress(now.seconds, now.speed, now.thinking)
            self.show_status()
        if ended and not events:
            await self._end(now)

    async def _end(self, now: Answering) -> None:
        """The reply has ended, by itself or not."""
        assert self.dialogue is not None
        reply = now.keep(self.dialogue)
        error = now.feed.error or EngineDied("the engine ended a reply without finishing it")
        if reply is not None:
            self._save()  # before anything is waited for
        await now.view.finish("cut short" if reply is None else reply.statistics())
        self.answering = None
        if reply is None:
            self._failed(error, now.feed)
        self.show_status()
        self.refresh_bindings()

    def _save(self) -> None:
        assert self.dialogue is not None
        try:
            self.dialogue.save()
            if self.dialogue.trace is not None:
                self.dialogue.trace.sync()
        except OutOfResources as failed:
            self.say(str(failed))

    def _record(self, tokens: list[Token]) -> None:
        """Into the chat's trace, if it has one; a reply that cannot be recorded ends, as in the chat."""
        assert self.dialogue is not None
        try:
            self.dialogue.record(tokens)
        except OutOfResources as error:
            self.say(str(error))
            self.action_stop()

    def leave(self) -> None:
        """The application ends."""
        if self.answering is not None and self.dialogue is not None:
            self.answering.leave(self.dialogue)
            self.set_reactive(ChatScreen.answering, None)

    def _failed(self, error: LedlocalError, feed: Feed) -> None:
        if isinstance(error, EngineDied) and not feed.comes_from(self.app.engine):
            self.say(f"{error}; another one was wanted meanwhile")
        elif isinstance(error, EngineDied):
            self.app.drop_engine()
            self.say(f"{error}\nthe conversation is kept; ctrl+r loads the model again")
        else:
            self.say(str(error))

    def action_stop(self) -> None:
        """End the reply; what was said of it stays."""
        if self.answering is not None:
            self.answering.feed.cancel()

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
        """From now on, look into the layers at every thinking token, or only where it explores."""
        self.looking.every_layer = not self.looking.every_layer
        if self.answering is not None:
            self.looking.switch()
            self._watch()
        self.show_status()
        self.app.notify("every thinking token is looked into; its speed is shown beside the one without"
                        if self.looking.every_layer else "only explored tokens are looked into", markup=False)

    def _watch(self) -> None:
        if self.app.engine is not None:
            self.app.engine.watch(self.detail)

    async def action_again(self) -> None:
        """Answer the last message again; while no engine runs, load one."""
        if self.app.engine_lost():
            self.say("loading ...")
            self.app.load()
        elif self.dialogue is not None and self.dialogue.conversation.turns and not self.busy:
            self._asking = True
            await self.conversation.turns[-1].remove()
            await self.answer(self.dialogue.repeated())

    async def action_go_on(self) -> None:
        """Go on with the last answer where it was stopped."""
        if self.dialogue is not None and not self.busy:
            await self.answer(self.dialogue.continued(), self.conversation.turns[-1])

    async def action_inspect(self) -> None:
        """Look at the last reply token by token."""
        if view := self.conversation.last_said:
            await self._inspect(view, first_fork(view.tokens))

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
        assert self.dialogue is not None and view.request is not None
        place = self.conversation.turns.index(view)
        said = Said(view.request, fork.tokens, view.turn.thinking, view.turn.answer)
        exchange = self.dialogue.forked(place, said)
        await self.conversation.cut(place)
        await self.answer(exchange)

    async def action_start_over(self) -> None:
        """A new conversation."""
        if self.dialogue is not None and not self.busy:
            self.dialogue.start_over()
            self.say("")
            await self.show_conversation()
