"""A reply that is on its way, and what is asked again about one that has come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from ledlocal.dialogue import Dialogue, Exchange
from ledlocal.reply import Engine, Reply
from ledlocal.said import ids_of
from ledlocal.values.errors import OutOfResources
from ledlocal.values.events import Event, Finished, Started, Token
from ledlocal.values.params import Request, Sampling
from ledlocal_tui.feed import Feed
from ledlocal_tui.tally import Tally
from ledlocal_tui.watch import Watch
from ledlocal_tui.widgets.turn import TurnView


class Answering:
    """A reply that is on its way."""

    def __init__(self, exchange: Exchange, feed: Feed, view: TurnView, watch: Watch) -> None:
        self.exchange, self.feed, self.view, self._watch = exchange, feed, view, watch
        self.tally = Tally.of(view.tokens, self._everywhere)  # it may go on
        self._came: list[Token] = []
        self.started: Started | None = None
        self.finished: Finished | None = None
        self.thinking = True
        self._before = self.tally.tokens
        self._kept = False

    def take(self, events: list[Event]) -> list[Token]:
        """Count what came; its tokens."""
        tokens = []
        for event in events:
            if isinstance(event, Token):
                self.tally.add(event)
                tokens.append(event)
            elif isinstance(event, Started):
                self.started = event
            elif isinstance(event, Finished):
                self.finished = event
        self._came += tokens
        if tokens:
            self.thinking = tokens[-1].phase == "thinking"
            looked_into = all(token.phase == "thinking" for token in tokens) or self._everywhere
            self._watch.add(len(tokens) if looked_into else 0, time.monotonic())
        return tokens

    @property
    def _everywhere(self) -> bool:
        return self.feed.request.answer.led.scope == "all"

    @property
    def looked_into(self) -> tuple[int, float]:
        """Tokens that can be looked into of a reply that has ended, and their seconds: all of it by the engine's clock,
        or the thought alone as it arrived."""
        thought = sum(token.phase == "thinking" for token in self._came)
        if thought == len(self._came) or self._everywhere:
            return len(self._came), self.seconds
        return thought, (self.feed.thought or 0.0) - (self.feed.began or 0.0)

    def keep(self, dialogue: Dialogue) -> Reply | None:
        """Make it a part of the dialogue; the reply, None if it did not come to its end."""
        request, end, self._kept = self.feed.request, self.finished, True
        if end is None:
            dialogue.cut(self.exchange, request, self._came)
            return None
        reply = Reply(request, self.started or Started(end.request, end.sample, (), 0, 0.0), end)
        dialogue.answered(self.exchange, reply, self._came)
        return reply

    def leave(self, dialogue: Dialogue) -> None:
        """Nobody waits for the rest: what has come is kept."""
        if self._kept:
            return
        with suppress(OutOfResources):  # the dialogue knows that it is not saved
            dialogue.record(self.take(self.feed.take()))
        self.keep(dialogue)
        with suppress(OutOfResources):
            dialogue.save()

    @property
    def used(self) -> int:
        """Tokens in the context."""
        before = len(self.started.prompt_ids) + len(self.feed.request.continues) if self.started is not None else 0
        return before + len(self._came)

    @property
    def seconds(self) -> float:
        """Since the prompt was read; the engine's own measure once it has ended."""
        if self.finished is not None:
            return self.finished.decode_s
        return time.monotonic() - self.feed.began if self.feed.began else 0.0

    @property
    def speed(self) -> float:
        """Tokens per second since then."""
        if self.finished is not None:
            return self.finished.tokens_per_s or 0.0
        return (self.tally.tokens - self._before) / self.seconds if self.seconds else 0.0


def look(engine: Engine, request: Request, tokens: Sequence[Token], at: int) -> Feed:
    """Have the layers at a token looked at, whatever drew it: what stands before it is read again."""
    return Feed(engine, replace(
        request, continues=request.continues + ids_of(tokens[:at]), max_tokens=1, detail="all",
        thinking=_everywhere(request.thinking), answer=_everywhere(request.answer)))


def _everywhere(sampling: Sampling) -> Sampling:
    return replace(sampling, method="led", led=replace(sampling.led, scope="all"))
