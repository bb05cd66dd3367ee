"""Keys pressed while a reply streams: Ctrl-E ends the thinking, what else is typed waits for the next prompts."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from types import FrameType

ANSWER_NOW = 0x05
"""Ctrl-E."""


class Typed:
    """Bytes typed while nobody was asked, for the line editor."""

    def __init__(self) -> None:
        self._bytes = b""
        self.held = False
        """What was typed is not to be sent by itself: the answer that it was typed under did not end as expected."""

    def add(self, data: bytes) -> None:
        """More of it."""
        self._bytes += data

    def take(self) -> bytes:
        """All of it; nothing is left."""
        taken, self._bytes = self._bytes, b""
        return taken


@contextlib.contextmanager
def listening(answer_now: Callable[[], None], typed: Typed) -> Iterator[None]:
    """Within: keys are not echoed, `answer_now` is called on Ctrl-E, other keys go to `typed`.

    Ctrl-C and Ctrl-Z stay signals; a stopped process gives the terminal back and takes it again. Nothing happens where
    standard input is no terminal, or another process has it.
    """
    if sys.stdin is None or not sys.stdin.isatty() or not _in_foreground(sys.stdin.fileno()):
        yield
        return
    fd = sys.stdin.fileno()
    modes = termios.tcgetattr(fd)
    stop, stopped = os.pipe()
    reader = threading.Thread(target=_read, args=(fd, stop, answer_now, typed), name="keys", daemon=True)
    suspend = signal.signal(signal.SIGTSTP, lambda *_: _suspend(fd, modes))
    try:
        _silence(fd, modes)
        reader.start()
        yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal was closed
            termios.tcsetattr(fd, termios.TCSANOW, modes)
        signal.signal(signal.SIGTSTP, suspend)
        os.close(stopped)
        if reader.ident is not None:
            reader.join()
        os.close(stop)


def _in_foreground(fd: int) -> bool:
    """Whether keys go to this process; a terminal without job control asks nobody."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return True


def _silence(fd: int, modes: list[int | list[bytes | int]]) -> None:
    """Keys come one by one and are not echoed; signals stay. A read never waits: Ctrl-C throws away what came."""
    silent = list(modes)
    assert isinstance(silent[3], int) and isinstance(silent[6], list)
    silent[3] &= ~(termios.ECHO | termios.ICANON)
    silent[6] = list(silent[6])
    silent[6][termios.VMIN] = silent[6][termios.VTIME] = 0
    termios.tcsetattr(fd, termios.TCSANOW, silent)


def _suspend(fd: int, modes: list[int | list[bytes | int]]) -> None:
    """Ctrl-Z: stop with the terminal as it was found; on return the process runs again."""
    termios.tcsetattr(fd, termios.TCSANOW, modes)
    handler: Callable[[int, FrameType | None], object] | int | None = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, handler)
    _silence(fd, modes)


def _read(fd: int, stop: int, answer_now: Callable[[], None], typed: Typed) -> None:
    while stop not in select.select([fd, stop], [], [])[0]:
        try:
            data = os.read(fd, 1024)
        except OSError:  # the terminal was closed
            return
        if not data and stop in select.select([stop], [], [], 0.05)[0]:  # a closed one may be readable for ever
            return
        if ANSWER_NOW in data:
            answer_now()
        typed.add(data.replace(bytes([ANSWER_NOW]), b""))
