"""Replies as they come, and how they end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from textual.reactive import reactive

from ledlocal.dialogue import Exchange
from ledlocal.safe_text import safe_line
from ledlocal.values.errors import EngineDied, LedlocalError, OutOfResources
from ledlocal.values.events import Event, Notice, Prefilled, Started, Token
from ledlocal_tui.answering import Answering
from ledlocal_tui.feed import Feed
from ledlocal_tui.screens.layout import ChatLayout, said_in_all
from ledlocal_tui.widgets.turn import TurnView

REDRAWS = 15
"""Per second, at most."""


class Replying(ChatLayout):
    """Asks for replies, shows them while they come, and makes them a part of the dialogue."""

    answering: reactive[Answering | None] = reactive(None, bindings=True)
    lost = ""
    """What the engine died of, while none runs."""
    _changing = False

    def on_mount(self) -> None:
        """Nothing comes yet."""
        self.set_interval(1 / REDRAWS, self._draw)

    @property
    def used(self) -> int | None:
        """Tokens in the context, of what is being said, too."""
        return super().used if self.answering is None else self.answering.used

    @property
    def busy(self) -> bool:
        """A message is being answered, or the conversation becomes another one."""
        return self.answering is not None or self._changing

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Within, the screen is not yet what the conversation is: another key may come while it is waited for."""
        self._changing = True
        try:
            yield
        finally:
            self._changing = False

    async def answer(self, exchange: Exchange, view: TurnView | None = None) -> None:
        """Have a message answered, below `view` if it goes on with what is there."""
        assert self.dialogue is not None
        with self.changing():
            if view is None:  # whatever comes of it: there is a view for every turn
                view = TurnView(exchange.turn, exchange.said)
                await self.conversation.add(view)
            request = None
            try:
                request = self.dialogue.request(exchange)
                if self.app.engine is None:
                    raise LedlocalError("no engine runs; ctrl+r loads the model again")
            except LedlocalError as error:
                self.dialogue.cut(exchange, request, ())
                await self._agree(exchange)
                self.say(str(error))
                return
            feed = Feed(self.app.engine, replace(request, detail=self.detail))
            view.request = view.request or feed.request
            view.begin()
            self.looking.begin((self.dialogue.loaded.model, self.dialogue.loaded.tap, request.thinking, request.answer))
            self.answering = Answering(exchange, feed, view, self.looking)
            self.show_tally(self.answering.tally)
            self.say("")

    async def _agree(self, exchange: Exchange) -> None:
        """Where nothing came of another answer, the one before stays in the dialogue: it is seen again."""
        assert self.dialogue is not None
        place, turn = len(self.dialogue.conversation.turns) - 1, self.dialogue.conversation.turns[-1]
        if turn.attempt != exchange.turn.attempt:
            said = self.dialogue.said(place)
            await self.conversation.cut(place)
            await self.conversation.add(TurnView(turn, said))
            self.show_tally(None if said is None else said_in_all(said))

    async def _draw(self) -> None:
        """Show what came since the last time."""
        now = self.answering
        if now is None:
            self._look_after_engine()
            return
        ended = now.feed.ended
        events = now.feed.take()
        for event in events:
            self._hear(event, now)
        tokens = now.take(events)
        self._record(tokens)
        if tokens or now.finished:
            first = not now.view.tokens
            await self.conversation.extend(now.view, tokens)
            if first:  # from now on it can be inspected
                self.refresh_bindings()
            self.show_progress(now.seconds, now.speed, now.thinking)
            self.show_status()
        if ended and not events:
            await self._end(now)

    def _hear(self, event: Event, now: Answering) -> None:
        """What is no token."""
        if isinstance(event, Notice):
            self.app.notify(safe_line(event.text), markup=False)
        elif isinstance(event, Prefilled):
            self.say(f"reading the prompt: {event.cached} of {event.prompt_tokens} tokens", passing=True)
        elif isinstance(event, Started):
            self.unsay()
            if self.detail != now.feed.request.detail:  # the key was pressed before the engine knew of the request
                self.watch_detail()

    async def _end(self, now: Answering) -> None:
        """The reply has ended, by itself or not."""
        assert self.dialogue is not None
        self.unsay()
        reply = now.keep(self.dialogue)
        error = now.feed.error or EngineDied("the engine ended a reply without finishing it")
        if reply is not None:
            self._save()  # before anything is waited for
        now.tally.ended = True
        if now.finished is not None:
            self.looking.end(*now.looked_into)
        self.show_progress(now.seconds, now.speed, now.thinking)
        await now.view.finish("cut short" if reply is None else reply.statistics())
        await self._agree(now.exchange)
        self.answering = None
        if reply is None:
            self._failed(error)
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
            self.set_reactive(Replying.answering, None)

    def _look_after_engine(self) -> None:
        """One may die while nobody asks it anything."""
        if not self._changing and self.app.engine is not None and (died := self.app.engine.died):
            self._failed(EngineDied(died))
            self.refresh_bindings()

    def _failed(self, error: LedlocalError) -> None:
        if isinstance(error, EngineDied):
            self.app.drop_engine()
            self.lost = str(error)
            self.say(f"{error}\nthe conversation is kept; ctrl+r loads the model again")
        else:
            self.say(str(error))

    def action_stop(self) -> None:
        """End the reply; what was said of it stays."""
        if self.answering is not None:
            self.answering.feed.cancel()

    def action_answer_now(self) -> None:
        """End the thinking."""
        if self.answering is not None:
            self.answering.feed.answer_now()

    def watch_detail(self) -> None:
        """Have the reply looked into as it is wanted now."""
        if self.app.engine is not None:
            self.app.engine.watch(self.detail)
