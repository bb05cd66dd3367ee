"""A conversation that goes on: its turns, its settings, the file it is kept in. Screens show what comes of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ledlocal.conversation import Conversation, Turn, folder, new_path, read_conversation, remove, write
from ledlocal.reply import Reply
from ledlocal.said import Said
from ledlocal.settings import Settings, describe
from ledlocal.totals import Totals
from ledlocal.trace import TraceWriter
from ledlocal.values.errors import OutOfResources
from ledlocal.values.events import Loaded, Token
from ledlocal.values.file_identity import file_identity
from ledlocal.values.params import Request

REMEMBERED = 30_000
"""Tokens of replies that are kept as such, if they are of several; 1.3 kB each."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message that is to be answered."""

    kept: Conversation
    """What was said before it."""
    turn: Turn
    """The message, and what is known of its answer: ids to go on from."""
    said: Said | None = None
    """That answer token by token, if this session saw it."""
    counted: tuple[Token, ...] = ()
    """Tokens of it that are in the session's totals already, as of the reply that it branches off."""


class Dialogue:
    """What a user and a model have said, and how the next answer is to be drawn."""

    def __init__(self, loaded: Loaded, settings: Settings, conversation: Conversation, path: Path | None,
                 note: Callable[[str], None]) -> None:
        """`path`: where the conversation is kept; None: nowhere. `note` is told what the user has to know."""
        self.loaded, self.settings, self.conversation, self.path = loaded, settings, conversation, path
        self.model: str | None = None
        """By which name the model was loaded; None: it is the session's first."""
        self.depth = settings.deepest()
        """Exploration depth that the engine was started for."""
        self.keeps = path is not None
        """Whether conversations are kept unless the user names a file."""
        self.unsaved = False
        """The last save failed."""
        self.attached = ""
        """Text that the next message begins with."""
        self.last: Reply | None = None
        """The last one of this session, of this conversation and model."""
        self.totals = Totals()
        self.trace: TraceWriter | None = None
        """Where every token of an answer is recorded."""
        self.note = self.say = note
        """What the user has to know; what a command of theirs answers."""
        self.template: str | None = None
        """Text of a chat template that is used in the place of the model's."""
        self._said: dict[tuple[int, Turn], Said] = {}
        """By a turn's place, and the turn itself: what is undone, changed or loaded meanwhile finds nothing."""
        self._written = path and file_identity(path)
        """The file as this session wrote or read it."""

    def served_by(self, loaded: Loaded, model: str | None) -> None:
        """An engine was loaded: with another model if `model` is not its name until now."""
        if model is not None and model != self.model:
            self.conversation, self.last = self.conversation.under(model), None
            self._said.clear()  # its tokens mean nothing to this one
        self.loaded, self.model = loaded, model

    def new(self, text: str) -> Exchange:
        """One more message, behind the text that waits for it."""
        turn, self.attached = Turn(self.attached + text), ""
        return Exchange(self.conversation, turn)

    def repeated(self, text: str | None = None) -> Exchange:
        """The last message, or `text` in its place, with other random numbers."""
        last = self.conversation.turns[-1]
        return Exchange(self.conversation.undone(), Turn(text or last.user, attempt=last.attempt + 1))

    def continued(self) -> Exchange:
        """The last message, its answer to go on where it was stopped."""
        turns = self.conversation.turns
        return Exchange(self.conversation.undone(), turns[-1], self.said(len(turns) - 1))

    def forked(self, place: int, said: Said) -> Exchange:
        """The message of a turn, its answer to go on behind another one than its own.

        What was said stays in its file; the branch is kept in one of its own.
        """
        turns = self.conversation.turns
        self._leave_file()
        return Exchange(replace(self.conversation, turns=turns[:place]), replace(
            turns[place], ids=said.ids, thinking=said.text("thinking"), answer=said.text("answer"),
            finish="cancelled"), said, said.tokens)

    def said(self, place: int) -> Said | None:
        """The answer of a turn token by token; None where this session saw none of it."""
        return self._said.get((place, self.conversation.turns[place]))

    def request(self, exchange: Exchange) -> Request:
        """What is asked of the engine. Raises BadInput."""
        kept, turn = exchange.kept, exchange.turn
        request = self.settings.request(self.loaded, kept.messages(turn.user), len(kept.turns), turn.attempt)
        return replace(request, continues=turn.ids, seed=turn.seed) if turn.ids else request

    def again_with(self, settings: Settings, attempt: int) -> Request:
        """The last message with other settings: the random numbers of its answer, or others for attempts above 0.

        Raises BadInput.
        """
        turn, kept = self.conversation.turns[-1], self.conversation.undone()
        if settings.seed == self.settings.seed and not turn.unanswered:  # a kept turn may have had another
            settings = replace(settings, seed=turn.seed)
        return settings.request(self.loaded, kept.messages(turn.user), len(kept.turns), turn.attempt + attempt)

    def record(self, tokens: Iterable[Token]) -> None:
        """Put tokens of an answer into the trace. Raises OutOfResources."""
        if self.trace is not None:
            for token in tokens:
                self.trace.write(token)

    def answered(self, exchange: Exchange, reply: Reply, came: Sequence[Token]) -> None:
        """Take a reply as the exchange's end, and the tokens that came of it; `save` keeps it."""
        end, turn = reply.finished, exchange.turn
        goes_on = self.last is not None and turn.ids and turn.ids == self.last.finished.ids
        self.totals.add(end, self.last.finished if self.last and goes_on else None, exchange.counted)
        ids = end.ids if end.finish in ("cancelled", "length") else ()
        if self._add(exchange.kept, replace(_asked(turn, reply.request), answer=end.answer, thinking=end.thinking,
                                            finish=end.finish, ids=ids), _said(exchange, reply.request, came)):
            self.last = reply

    def cut(self, exchange: Exchange, request: Request | None, came: Sequence[Token]) -> None:
        """Keep what was said before an engine died or a terminal was closed: it can go on."""
        turn, said = exchange.turn, exchange.said if request is None else _said(exchange, request, came)
        if came or not turn.ids:  # else it is what it was before it was to go on
            turn = replace(turn, finish="cancelled")
            if request is not None and said is not None:
                turn = replace(_asked(turn, request), ids=said.ids, thinking=said.text("thinking"),
                               answer=said.text("answer"))
        if self._add(exchange.kept, turn, said):
            self.last = None
        with contextlib.suppress(OutOfResources):  # the first error is the one to tell
            self.save()

    def _add(self, kept: Conversation, turn: Turn, said: Said | None) -> bool:
        """The conversation is `kept` and a turn; but none without an answer takes the place of the same with it: False.
        """
        place = len(kept.turns)
        if turn.unanswered and any(turn.user == gone.user for gone in self.conversation.turns[place:]):
            return False
        self.conversation = kept.with_turn(turn)
        if said is not None:
            self._said.pop((place, turn), None)
            self._said[place, turn] = said
            self._forget()
        return True

    def _forget(self) -> None:
        """Tokens beyond those that are remembered: first of what is in the conversation no more, then of its oldest
        replies; never of its last one."""
        known, here = self._said, set(enumerate(self.conversation.turns))
        tokens = sum(len(said.tokens) for said in known.values())
        for one in sorted(known, key=here.__contains__)[:-1]:
            if tokens > REMEMBERED:
                tokens -= len(known.pop(one).tokens)

    def start_over(self) -> None:
        """Forget the conversation; the next one is kept in a file of its own."""
        self.conversation = replace(self.conversation, turns=())
        self._said.clear()
        self.attached, self.last = "", None
        self._leave_file()

    def _leave_file(self) -> None:
        if self.path is not None:
            self.path, self._written = new_path() if self.keeps else None, None

    def load(self, path: Path) -> None:
        """Go on with the conversation in a file. Raises BadInput."""
        self.conversation = read_conversation(path).under(self.conversation.model)
        self.attached, self.last = "", None
        self.path = path if self.keeps else None
        self._written = file_identity(path) if self.keeps else None

    def save(self, path: Path | None = None, forget: bool = False) -> None:
        """Keep the conversation, if it is kept at all; `path`: there from now on; `forget`: even if nothing is left;
        then a file among the kept ones is removed.

        Raises OutOfResources; the session goes on.
        """
        where = path or self.path
        if where is not None and (self.conversation.turns or (forget and os.path.exists(where))):
            if where == self.path and self._written != file_identity(where):
                where = new_path()
                self.note(f"{self.path} was changed by another session; this one is kept as {where}")
            self.unsaved |= path is None
            if self.conversation.turns or where.parent != folder():
                write(where, "\n".join(self.conversation.lines()) + "\n")
            else:
                remove(where)
            self.unsaved = False
        self.path, self._written = where, where and file_identity(where)


def _said(exchange: Exchange, request: Request, came: Sequence[Token]) -> Said:
    """The exchange's answer with the tokens that a request brought."""
    turn = exchange.turn
    said = exchange.said
    if said is None or said.ids != turn.ids:
        said = Said(request, (), turn.thinking, turn.answer)
    return said.with_tokens((*said.tokens, *came))


def _asked(turn: Turn, request: Request) -> Turn:
    """A turn with how its answer is drawn."""
    return replace(turn, seed=request.seed, method=describe(request.thinking, "thinking"))
