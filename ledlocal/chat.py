"""A conversation in the terminal."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from ledlocal import slash
from ledlocal.banner import banner, legend
from ledlocal.conversation import Conversation, Turn, folder, new_path, read_conversation, remove, write
from ledlocal.keys import Typed, listening
from ledlocal.quotes import is_open, unquoted
from ledlocal.reply import Engine, Look, Partial, Reply, ReplyView, Totals, receive
from ledlocal.settings import Settings, describe
from ledlocal.terminal import DIM, Console
from ledlocal.trace import TraceWriter
from ledlocal.values.errors import INTERRUPTED, BadInput, EngineDied, LedlocalError, OutOfResources
from ledlocal.values.events import Loaded
from ledlocal.values.file_identity import file_identity

TWICE_S = 0.7
"""Ctrl-C at the prompt within this time after it stopped a reply is the second of two."""


class Chat:
    """A conversation, settings and the engine of one session.

    `start` makes an engine; a session makes one more if its engine died, and keeps the conversation. `path` is where
    the conversation is kept; None: nowhere. `ask` reads a line; `template` is the chat template's text, to be shown;
    `typed` takes keys typed while a reply streams.
    """

    def __init__(self, start: Callable[[], Engine], settings: Settings, console: Console,
                 conversation: Conversation | None = None, *, path: Path | None = None, look: Look | None = None,
                 trace: TraceWriter | None = None, ask: Callable[[str], str] | None = None,
                 template: str | None = None, typed: Typed | None = None,
                 edit: Callable[[str], str | None] = lambda text: text) -> None:
        self._start, self._typed = start, typed
        self.console = console
        self._engine: Engine | None = self._load()
        self._ask = ask or console.ask
        self._trace = trace
        self.edit = edit
        """Lets the user change a text in an editor; None if nothing was saved."""
        self._written = path and file_identity(path)
        """The file as this session wrote or read it."""
        self.unsaved = False
        """The last save failed."""
        self.depth = settings.deepest()
        """Exploration depth that the engine was started for."""
        self._replying = False
        self._stopped = -math.inf
        """When the last reply ended, if it was stopped."""
        self.keeps = path is not None
        """Whether conversations are kept unless the user names a file."""
        self.loaded: Loaded = self._engine.loaded
        self.settings, self.path, self.template = settings, path, template
        self.look = look or Look()
        self.conversation = conversation or Conversation()
        self.attached = ""
        """Text that the next message begins with."""
        self.last: Reply | None = None
        """Of this session."""
        self.totals = Totals()

    def close(self) -> None:
        """End the engine."""
        if self._engine:
            self._engine.close()
            self._engine = None

    def reply(self, text: str) -> Reply:
        """Answer a message as the next turn.

        Raises LedlocalError; the message, with the file it began with, and what had come of its answer are kept then.
        """
        turn, self.attached = Turn(self.attached + text), ""
        return self._generate(self.conversation, turn)

    def again(self, text: str | None = None) -> Reply:
        """Answer the last message, or `text` in its place, with other random numbers. Raises LedlocalError."""
        last = self.conversation.turns[-1]
        return self._generate(self.conversation.undone(), Turn(text or last.user, attempt=last.attempt + 1))

    def start_over(self) -> None:
        """Forget the conversation; the next one is kept in a file of its own."""
        self.conversation = replace(self.conversation, turns=())
        self.attached = ""
        if self.path is not None:
            self.path, self._written = new_path(), None

    def go_on(self) -> Reply:
        """Continue the last reply where it was stopped. Raises LedlocalError."""
        return self._generate(self.conversation.undone(), self.conversation.turns[-1])

    def _generate(self, kept: Conversation, turn: Turn, show: bool = True) -> Reply:
        view = ReplyView(self.console, self.look) if show else None
        partial = Partial()
        try:
            engine = self._running()
            request = self.settings.request(self.loaded, kept.messages(turn.user), len(kept.turns), turn.attempt)
            if turn.ids:
                request = replace(request, continues=turn.ids, seed=turn.seed)
            turn = replace(turn, seed=request.seed, method=describe(request.thinking, "thinking"))
            self._replying = True
            reply = receive(engine, request, self.console, view, self._trace, self._typed, partial)
        except BaseException as error:
            self._keep_partial(kept, turn, partial)
            self._hold()
            if isinstance(error, EngineDied):
                self.close()
            if isinstance(error, LedlocalError):
                self._replying = False
            raise
        self._replying = False
        end = reply.finished
        self._stopped = time.monotonic() if end.finish == "cancelled" else -math.inf
        if end.finish == "cancelled":
            self._hold()
        goes_on = self.last is not None and turn.ids and turn.ids == self.last.finished.ids
        self.totals.add(end, self.last.finished if self.last and goes_on else None)
        self.last = reply
        ids = end.ids if end.finish in ("cancelled", "length") else ()
        self._add(kept, replace(turn, answer=end.answer, thinking=end.thinking, finish=end.finish, ids=ids))
        return reply

    def _running(self) -> Engine:
        """The engine; a new one if it died. Raises what loading raises."""
        if self._engine is not None and self._engine.died:
            self.console.info(f"note: {self._engine.died}; a new one is loaded")
            self.close()
        if self._engine is None:
            self._engine = self._load()
            self.loaded = self._engine.loaded
        return self._engine

    def _load(self) -> Engine:
        keys = nullcontext() if self._typed is None else listening(lambda: None, self._typed)
        with keys, self.console.waiting("loading"):
            return self._start()

    def _hold(self) -> None:
        """Lines that are typed already wait: they were meant for another turn of things."""
        if self._typed is not None:
            self._typed.held = True

    def _add(self, kept: Conversation, turn: Turn) -> None:
        """The conversation is `kept` and a turn; but none without an answer takes the place of the same with it."""
        if turn.unanswered and any(turn.user == gone.user for gone in self.conversation.turns[len(kept.turns):]):
            return
        self.conversation = kept.with_turn(turn)

    def _keep_partial(self, kept: Conversation, turn: Turn, partial: Partial) -> None:
        """What was said before an engine died or a terminal was closed can go on."""
        before = turn if turn.ids else replace(turn, answer="", thinking="")
        cut = replace(turn, answer=before.answer + partial.text("answer"),
                      thinking=before.thinking + partial.text("thinking"), finish="cancelled",
                      ids=(*turn.ids, *partial.ids))
        self._add(kept, cut)
        with contextlib.suppress(OutOfResources):  # the first error is the one to tell
            self.save()

    def ask_once(self, text: str, show: bool = True) -> Reply:
        """One answer: shown with its statistics, or only returned."""
        for notice in (*self.loaded.notices, *self.settings.notices(self.loaded)):
            self.console.note(notice)
        reply = self._generate(self.conversation, Turn(text), show)
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
            self.finish(self.reply(line))
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

    def say(self, text: str) -> None:
        """Answer a command; the user asked, so quiet or not."""
        for line in text.splitlines():
            self.console.err.line(line, DIM)

    def load(self, path: Path) -> None:
        """Go on with the conversation in a file. Raises BadInput."""
        self.conversation = read_conversation(path).under(self.conversation.model)
        if self.keeps:
            self.path, self._written = path, file_identity(path)
        if self.conversation.turns:
            self.say_where()

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

    def save(self, path: Path | None = None, forget: bool = False) -> None:
        """Keep the conversation, if it is kept at all; `path`: there from now on; `forget`: even if nothing is left;
        then a file among the kept ones is removed.

        Raises OutOfResources; the session goes on.
        """
        where = path or self.path
        if where is not None and (self.conversation.turns or (forget and os.path.exists(where))):
            if where == self.path and self._written != file_identity(where):
                where = new_path()
                self.console.note(f"{self.path} was changed by another session; this one is kept as {where}")
            self.unsaved |= path is None
            if self.conversation.turns or where.parent != folder():
                write(where, "\n".join(self.conversation.lines()) + "\n")
            else:
                remove(where)
            self.unsaved = False
        self.path, self._written = where, where and file_identity(where)
