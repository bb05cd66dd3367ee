"""Output streams: what a terminal gets, what a pipe gets, colour, and reading a line."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Literal, TextIO

from ledlocal.safe_text import safe_line, safe_text
from ledlocal.values.errors import BadInput, OutOfResources

INDENT = 10
"""Columns before the values of a banner's line, where its continuation stands."""
Color = Literal["auto", "always", "never"]

DIM = "2"
SAME = "4;38;5;31"
CHANGED = "1;38;5;163"
ERROR = "31"
"""Styles: parameters of the terminal's SGR sequence. Colours are of its 256: those stand out on white and on black."""

_CONFIDENCE = ((0.2, "38;5;160"), (0.4, "38;5;166"), (0.6, "38;5;136"), (0.8, "38;5;64"), (0.95, "38;5;28"))
"""Up to which probability of the favourite token a token has a colour: red to green."""


def confidence_style(confidence: float) -> str:
    """Style of a token by the final layer's probability of its favourite, 0 to 1; sure ones are dimmed."""
    return next((style for limit, style in _CONFIDENCE if confidence < limit), DIM)


class Screen:
    """One output stream. A terminal gets safe text, signs and perhaps colour; a pipe gets the exact text."""

    def __init__(self, stream: TextIO | None, color: Color = "auto",
                 environ: Mapping[str, str] = os.environ) -> None:
        """`color` auto: on a terminal, unless NO_COLOR is set or TERM is dumb.

        `stream` None, where the caller closed it (>&-): writing fails.
        """
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale without a character must not stop an answer
        self._stream = stream
        self.tty = stream is not None and stream.isatty()
        plain = bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb"
        self.color = color == "always" or (color == "auto" and self.tty and not plain)
        self.same, self.changed = self._signs()
        self.erases = self.tty and environ.get("TERM") != "dumb"
        """Whether `take_back` works here."""

    def _signs(self) -> tuple[str, str]:
        """Marks of explored tokens: hollow where nothing changed, filled where another token was drawn."""
        if self._stream is None or not self.tty:
            return "", ""
        try:
            "◦•".encode(self._stream.encoding or "ascii")
        except UnicodeEncodeError:
            return "~", "^"
        return "◦", "•"

    def write(self, text: str, style: str = "") -> None:
        """Write `text` as it comes and flush it.

        Raises BrokenPipeError if nobody reads any more, OutOfResources if it cannot be written (a full disk).
        """
        if self.tty or self.color:
            text = safe_text(text)
        if style and text and self.color:
            text = f"\x1b[{style}m{text}\x1b[0m"
        self._put(text)

    def take_back(self, columns: int) -> None:
        """Erase what stands in the last columns before the cursor, on its line."""
        self._put(f"\x1b[{columns}D\x1b[K")

    def take_line_back(self) -> None:
        """Erase the cursor's line."""
        self._put("\r\x1b[K")

    def status(self, text: str, style: str = "") -> None:
        """Put `text` in the place of the terminal's current line."""
        self._put("\r")
        self.write(text, style)
        if self.erases:
            self._put("\x1b[K")  # behind it, not before: a line that is empty for a moment flickers

    def _put(self, text: str) -> None:
        if self._stream is None:
            raise OutOfResources("cannot write the output: standard output is closed")
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutOfResources(f"cannot write the output: {error.strerror}") from None

    def line(self, text: str, style: str = "") -> None:
        """Write one whole line, whatever `text` contains; a terminal breaks it between words."""
        text = safe_text(text).replace("\n", " ")
        if self.tty:
            width = max(20, shutil.get_terminal_size().columns - 1)
            text = textwrap.fill(text, width, subsequent_indent=" " * INDENT, break_long_words=False,
                                 break_on_hyphens=False, replace_whitespace=False)
        self.write(text, style)
        self.write("\n")


class Wait:
    """A line that says what takes its time, on a terminal; gone when it is over."""

    def __init__(self, screen: Screen, shown: bool) -> None:
        self._screen, self._shown = screen, shown

    def says(self, what: str) -> None:
        """Show `what`, in the place of what was shown."""
        if self._shown:
            width = max(20, shutil.get_terminal_size().columns - 1)
            self._screen.status(f"{what} ..."[:width], DIM)

    def over(self) -> None:
        """Erase it; nothing is shown from now on."""
        if self._shown:
            self._shown = False
            self._screen.take_line_back()


class Console:
    """The screens of a command: results on `out`, everything else on `err`."""

    def __init__(self, color: Color = "auto", quiet: bool = False) -> None:
        self.out = Screen(sys.stdout, color)
        self.err = Screen(sys.stderr or io.StringIO(), color)  # closed: nobody wants to hear what is beside the results
        self.quiet = quiet
        self._noted: set[str] = set()

    def info(self, text: str = "", style: str = DIM) -> None:
        """A line beside the results; nothing if quiet."""
        if not self.quiet:
            self.err.line(text, style)

    def note(self, text: str) -> None:
        """A sentence that is said once; nothing if quiet."""
        if text not in self._noted:
            self._noted.add(text)
            self.info(f"note: {text}")

    def error(self, error: Exception) -> None:
        """One line that says what went wrong."""
        self.err.line(f"ledlocal: {safe_line(str(error))}", ERROR)

    @contextmanager
    def waiting(self, what: str) -> Iterator[Wait]:
        """Within: a terminal shows what takes its time, until it is over or the end."""
        wait = Wait(self.err, self.err.erases and not self.quiet)
        wait.says(what)
        try:
            yield wait
        except BaseException:
            with suppress(OutOfResources, OSError):  # the first error is the one to tell
                wait.over()
            raise
        wait.over()

    def ask(self, prompt: str) -> str:
        """Read a line where there is no line editor. Raises EOFError at the end, KeyboardInterrupt on Ctrl-C."""
        self.err.write(prompt)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")


def drawable() -> bool:
    """Whether a whole screen can be drawn: keys come from a terminal, and both outputs go there."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams) and os.environ.get("TERM") != "dumb"


def require_drawable(otherwise: str) -> None:
    """Raise BadInput unless a whole screen can be drawn. `otherwise`: what works without one."""
    if not drawable():
        raise BadInput(f"a terminal that can be drawn on is needed; {otherwise}")


def leave_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the program through Python, so that the terminal's modes are put back."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
