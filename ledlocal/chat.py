"""A conversation in the terminal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from ledlocal import slash
from ledlocal.banner import banner, legend
from ledlocal.conversation import Conversation, Turn
from ledlocal.dialogue import Dialogue, Exchange
from ledlocal.keys import Typed, listening
from ledlocal.quotes import is_open, unquoted
from ledlocal.reply import Engine, Look, Reply, ReplyView, receive
from ledlocal.settings import Settings
from ledlocal.terminal import DIM, Console
from ledlocal.trace import TraceWriter
from ledlocal.values.errors import INTERRUPTED, BadInput, EngineDied, LedlocalError, OutOfResources
from ledlocal.values.events import Token

TWICE_S = 0.7
"""Ctrl-C at the prompt within this time after it stopped a reply is the second of two."""


class Chat(Dialogue):
    """A conversation in the terminal, with the engine of one session.

    `start` makes an engine of a model by its name, None: of the session's first; a session makes one more if its engine
    died, and keeps the conversation. `path` is where the conversation is kept; None: nowhere. `ask` reads a line;
    `template` is the chat template's text, to be shown; `typed` takes keys typed while a reply streams. `on_screen`
    lets the conversation go on on a whole screen with an engine, and gives back the one that runs afterwards.
    """

    def __init__(self, start: Callable[[str | None], Engine], settings: Settings, console: Console,
                 conversation: Conversation | None = None, *, path: Path | None = None, look: Look | None = None,
                 trace: TraceWriter | None = None, ask: Callable[[str], str] | None = None,
                 template: str | None = None, typed: Typed | None = None,
                 edit: Callable[[str], str | None] = lambda text: text,
                 on_screen: Callable[[Chat, Engine], Engine | None] | None = None) -> None:
        self._start, self._typed, self._on_screen = start, typed, on_screen
        self.console = console
        self._engine: Engine | None = self._load(None)
        super().__init__(self._engine.loaded, settings, conversation or Conversation(), path, console.note)
        self._ask = ask or console.ask
        self.trace = trace
        self.edit = edit
        """Lets the user change a text in an editor; None if nothing was saved."""
        self._replying = False
        self._stopped = -math.inf
        """When the last reply ended, if it was stopped."""
        self.template, self.say = template, self._say
        self.look = look or Look()

    def close(self) -> None:
        """End the engine."""
        if self._engine:
            self._engine.close()
            self._engine = None

    def answer(self, exchange: Exchange, show: bool = True) -> Reply:
        """Have a message answered, and show it.

        Raises LedlocalError; the message, with the file it began with, and what had come of its answer are kept then.
        """
        view = ReplyView(self.console, self.look) if show else None
        came: list[Token] = []
        request = None
        try:
            engine = self._running()
            request = self.request(exchange)
            self._replying = True
            reply = receive(engine, request, self.console, view, self.trace, self._typed, came)
        except BaseException as error:
            self.cut(exchange, request, came)
            self._hold()
            if isinstance(error, EngineDied):
                self.close()
            if isinstance(error, LedlocalError):
                self._replying = False
            raise
        self._replying = False
        stopped = reply.finished.finish == "cancelled"
        self._stopped = time.monotonic() if stopped else -math.inf
        if stopped:
            self._hold()
        self.answered(exchange, reply, came)
        return reply

    def _running(self) -> Engine:
        """The engine; a new one if it died. Raises what loading raises."""
        if self._engine is not None and self._engine.died:
            self.console.info(f"note: {self._engine.died}; a new one is loaded")
            self.close()
        if self._engine is None:
            self._engine = self._load(self.model)
            self.loaded = self._engine.loaded
        return self._engine

    def _load(self, model: str | None) -> Engine:
        keys = nullcontext() if self._typed is None else listening(lambda: None, self._typed)
        with keys, self.console.waiting("loading"):
            return self._start(model)

    def go_on_screen(self) -> None:
        """Go on on a whole screen, with the same engine; back here, say what has changed.

        Raises BadInput where nothing can be drawn, and what loading raises.
        """
        if self._on_screen is None:
            raise BadInput("/tui needs a terminal that can be drawn on, which a pipe and TERM=dumb are not")
        before, model = self.conversation, self.model
        engine, self._engine = self._running(), None  # lent: whoever has it ends it if something goes wrong
        try:
            self._engine = self._on_screen(self, engine)
        finally:
            self.note = self.console.note
        if self.model != model:
            self.console.info(f"model     {self.loaded.model.name}")
        if self.conversation.turns and self.conversation != before:
            self.say_where()
        if self._engine is None:
            self.console.info("no engine runs; the next message loads one")

    def _hold(self) -> None:
        """Lines that are typed already wait: they were meant for another turn of things."""
        if self._typed is not None:
            self._typed.held = True

    def ask_once(self, text: str, show: bool = True) -> Reply:
        """One answer: shown with its statistics, or only returned."""
        for notice in (*self.loaded.notices, *self.settings.notices(self.loaded)):
            self.console.note(notice)
        reply = self.answer(Exchange(self.conversation, Turn(text)), show)
        if show:
            self.console.info(f"{reply.statistics()} · seed {reply.request.seed}")
        return reply

    def run(self) -> int:
        """Talk until the user leaves. Returns the exit code: 3 if the engine lies dead then, 130 after Ctrl-C twice.

        Raises KeyboardInterrupt if Ctrl-C comes a second time while a reply is being stopped.
        """
        console = self.console
        banner(console, self.loaded, self.settings)
        legend(console, self.look)
        console.info("/help for commands · Ctrl-C stops the answer · Ctrl-D leaves")
        if self.conversation.turns:
            self.say_where()
        interrupted = False
        while True:
            try:
                line = self._read()
            except EOFError:
                console.err.write("\n")
                break
            except KeyboardInterrupt:
                console.err.write("\n")
                if interrupted or time.monotonic() - self._stopped < TWICE_S:
                    return INTERRUPTED
                interrupted = True
                console.info("Ctrl-C again or Ctrl-D leaves")
                continue
            interrupted = False
            try:
                if not self._do(line):
                    break
            except LedlocalError as error:
                console.error(error)
                if self._engine is None:
                    console.info("the conversation is kept; /regen answers the last message with a new engine")
                elif isinstance(error, BadInput) and not line.startswith("/"):
                    console.info("the message is kept: /edit changes it, /regen answers it")
        if self._engine is None:
            return EngineDied.exit_code
        return OutOfResources.exit_code if self.unsaved else 0

    def _read(self) -> str:
        lines = [self._ask("> ")]
        while lines[-1].endswith("\\") or is_open("\n".join(lines)):
            lines[-1] = lines[-1].removesuffix("\\")
            lines.append(self._ask(". "))
        return unquoted("\n".join(lines)).strip()

    def _do(self, line: str) -> bool:
        """Carry out one line: a command or a message; False to leave."""
        word = line.partition("\n")[0].partition(" ")[0]
        if word in slash.LEAVE and line == word:
            return False
        if line.startswith("/") and "/" not in word[1:]:
            self._command(line)
        elif line:
            self.finish(self.answer(self.new(line)))
        return True

    def _command(self, line: str) -> None:
        """Carry out a command; Ctrl-C ends one that waits, as for an editor, and twice a reply as everywhere."""
        replies = self.totals.answers
        try:
            slash.carry_out(self, line)
        except KeyboardInterrupt:
            if self._replying or self.totals.answers != replies:
                raise
            self.console.info("stopped")

    def _say(self, text: str) -> None:
        """Answer a command; the user asked, so quiet or not."""
        for line in text.splitlines():
            self.console.err.line(line, DIM)

    def say_where(self) -> None:
        """After how many turns the conversation goes on, and the last of them."""
        last, turns = self.conversation.turns[-1], len(self.conversation.turns)
        self.console.info(f"the conversation goes on after {turns} turn{'s' * (turns > 1)}; the last one:")
        self.console.info(f"> {last.user}")
        self.console.info("it has no answer; /regen gives one" if last.unanswered else
                          last.answer or last.thinking or f"({last.finish})")
        if last.ids:
            self.console.info("it was stopped; /continue goes on with it")

    def finish(self, reply: Reply) -> None:
        """The line under a reply, and the conversation's file."""
        self.console.info("  " + reply.statistics())
        self.console.info()
        self.save()
