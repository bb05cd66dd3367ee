"""The line where a user types: editing, history, completion, several lines, the user's own editor."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from platformdirs import user_state_path
from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth

from ledlocal.conversation import names
from ledlocal.keys import Typed
from ledlocal.quotes import is_open
from ledlocal.settings import NAMES
from ledlocal.slash import COMMANDS

_FILES = ("/read", "/export")


class LineEditor:
    """Reads what the user types; lines entered while nobody was asked come first, one by one."""

    def __init__(self, typed: Typed, color: bool, history: bool = True) -> None:
        """`history`: lines are kept for the next session."""
        self._typed = typed
        self._draft = ""
        """What the line began with."""
        self._drafts: list[str] = []
        """Lines that wait to be sent by hand."""
        self._session: PromptSession[str] = PromptSession(
            history=_history() if history else InMemoryHistory(), completer=Commands(), complete_while_typing=False,
            key_bindings=_keys(lambda: self._draft),
            multiline=True, prompt_continuation=". ", enable_open_in_editor=True, enable_suspend=True,
            tempfile_suffix=".txt", color_depth=None if color else ColorDepth.DEPTH_1_BIT)

    def ask(self, prompt: str) -> str:
        """A line, or several. Raises EOFError on Ctrl-D, KeyboardInterrupt on Ctrl-C, SystemExit on SIGTERM, SIGHUP."""
        before = {number: signal.signal(number, self._leave) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            self._draft = self._pending()
            return self._session.prompt(prompt, default=self._draft)
        except KeyboardInterrupt:
            self._drafts.clear()
            raise
        except _Leave as leave:
            raise SystemExit(leave.code) from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pending(self) -> str:
        """What was typed meanwhile is queued behind what this editor has left. If it is held, its lines are drafts, one
        by one, and so is what is typed after them; the first of them.
        """
        source = self._session.input
        keys = [*get_typeahead(source), *_keys_of(self._typed.take())]
        held, self._typed.held = self._typed.held, False
        if not held and not self._drafts:
            store_typeahead(source, keys)
            return ""
        self._drafts += filter(None, _text(keys).split("\n"))
        return self._drafts.pop(0) if self._drafts else ""

    def _leave(self, number: int, _frame: FrameType | None) -> None:
        """End the editing from within its own loop: only so does it put the terminal's modes back."""
        application = self._session.app
        if application.is_running and application.loop is not None:
            application.loop.call_soon_threadsafe(lambda: application.exit(exception=_Leave(128 + number)))
        else:
            raise SystemExit(128 + number)


class _Leave(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


class Commands(Completer):
    """Names of commands, and behind them settings, choices and files."""

    def __init__(self) -> None:
        self._files = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Completions of the word before the cursor; none in a message."""
        text = document.text_before_cursor
        name, space, rest = text.partition(" ")
        if not text.startswith("/") or "\n" in text:
            return
        if not space:
            found = [command for command in COMMANDS if command.startswith(name)]
        elif name in _FILES:
            yield from self._files.get_completions(Document(rest, len(rest)), complete_event)
            return
        else:
            found = [choice for choice in self._choices(name) if choice.startswith(rest)]
        word = rest if space else name
        for one in found:
            yield Completion(one, start_position=-len(word))

    def _choices(self, name: str) -> list[str]:
        """What may stand behind a command."""
        if name == "/load":
            return names()
        usage = COMMANDS[name].usage if name in COMMANDS else ""
        return [choice for choice in (NAMES if name == "/set" else usage.split("|")) if choice.islower()]


def _keys(draft: Callable[[], str]) -> KeyBindings:
    """Enter sends, unless the line ends in a backslash or quotes are open; Alt-Enter begins a new line.

    Ctrl-C drops what is typed; on a draft that nobody touched it is what it is on an empty line.
    """
    keys = KeyBindings()

    @keys.add("enter")
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.char_before_cursor == "\\" and buffer.document.is_cursor_at_the_end:
            buffer.delete_before_cursor()
            buffer.newline()
        elif is_open(buffer.text):
            buffer.newline()
        else:
            buffer.validate_and_handle()

    @keys.add("c-c", filter=Condition(lambda: get_app().current_buffer.text not in ("", draft())))
    def _drop(event: KeyPressEvent) -> None:
        event.app.exit(result="")

    @keys.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline()

    return keys


def _keys_of(data: bytes) -> list[KeyPress]:
    """Keys from a terminal's bytes; Enter comes as a line feed where the line editor has not set the modes."""
    found: list[KeyPress] = []
    parser = Vt100Parser(found.append)
    parser.feed(data.decode("utf-8", "ignore").replace("\n", "\r"))
    parser.flush()
    return found


def _text(keys: list[KeyPress]) -> str:
    """What they write: Backspace takes back, Enter begins a line, other keys are left out."""
    text = ""
    for key in keys:
        if key.key == Keys.Enter:
            text += "\n"
        elif key.key == Keys.Backspace:
            text = text[:-1]
        elif key.data.isprintable():
            text += key.data
    return text


class _History(FileHistory):
    """A full disk costs the history's line, not the message."""

    def store_string(self, string: str) -> None:
        """Keep a line if it can be kept."""
        with contextlib.suppress(OSError):
            super().store_string(string)


def _history() -> History:
    """Lines of earlier sessions, private; of this one only where no file can be kept."""
    path: Path = user_state_path("ledlocal") / "history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError:
        return InMemoryHistory()
    return _History(path)
