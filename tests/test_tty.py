"""The whole command on a real terminal (a pseudo-terminal), with a scripted engine."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = """
import time
from fake_engine import FakeEngine, reply, token
from ledlocal import cli
import ledlocal.commands.chat as chat
first = reply("It is 13\\x1b]0;title\\x07.", "10 plus 3")
first.insert(3, token("Wait", "thinking", explored=True, changed=True))
engine = FakeEngine()
engine.enqueue(first)
wait = lambda: engine.cancelled or time.sleep(0.02)
engine.enqueue([first[0], token("slow"), *[wait] * 1000, first[-1]])
until = lambda: engine.answered or time.sleep(0.02)
engine.enqueue([first[0], token("deep ", "thinking"), *[until] * 1000, token("now"), first[-1]])
engine.enqueue(reply("last"))
chat.start_engine = engine.start
cli.main(["chat", "-s", "41"])
"""


class Terminal:
    """A pseudo-terminal with the command on it."""

    def __init__(self, **environ: str) -> None:
        self.master, self.slave = pty.openpty()
        self.modes = termios.tcgetattr(self.slave)
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT], cwd=Path(__file__).parent, stdin=self.slave, stdout=self.slave,
            stderr=self.slave, env={**os.environ, "TERM": "xterm", "PYTHONUTF8": "1", **environ})

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, text: str) -> str:
        """What is shown up to and including `text`, without colour; it is taken off the screen."""
        end = time.monotonic() + 20
        while text not in self._plain():
            assert time.monotonic() < end, f"waited for {text!r}, got {self.shown!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                self.shown += os.read(self.master, 4096).decode()
                if "\x1b[6n" in self.shown:  # the line editor asks where the cursor is
                    self.shown = self.shown.replace("\x1b[6n", "")
                    self.type("\x1b[1;1R")
        head, _, self.shown = self._plain().partition(text)
        return head + text

    def _plain(self) -> str:
        return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", self.shown)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.delenv("NO_COLOR", raising=False)
    opened = Terminal()
    yield opened
    opened.close()


def test_a_session(terminal: Terminal) -> None:
    terminal.wait_for(">")
    terminal.type("Make 13.\n")
    shown = terminal.wait_for("changed 0")
    assert "Wait•10 plus 3\r\n\r\nIt is 13␛]0;title␇.\r\n" in shown
    terminal.wait_for(">")
    terminal.type("Again.\n")
    terminal.wait_for("slow")
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for("finish: cancelled")
    terminal.wait_for(">")
    terminal.type("\x04")
    assert terminal.process.wait(10) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.modes


def test_sigterm_at_the_prompt_puts_the_terminal_back(terminal: Terminal) -> None:
    terminal.wait_for(">")
    end = time.monotonic() + 20
    while termios.tcgetattr(terminal.slave) == terminal.modes:  # the line editor sets its own
        assert time.monotonic() < end
        time.sleep(0.01)
    terminal.process.terminate()
    assert terminal.process.wait(10) == 128 + signal.SIGTERM
    assert termios.tcgetattr(terminal.slave) == terminal.modes


def test_keys_while_it_answers(terminal: Terminal) -> None:
    terminal.wait_for(">")
    terminal.type("one\n")
    terminal.wait_for("changed 0")
    terminal.wait_for(">")
    terminal.type("two\n")
    terminal.wait_for("slow")
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for("cancelled")
    terminal.wait_for(">")
    terminal.type("three\n")
    terminal.wait_for("deep")
    silent = termios.tcgetattr(terminal.slave)
    assert not silent[3] & (termios.ECHO | termios.ICANON) and silent[3] & termios.ISIG
    terminal.type("ahead")
    terminal.type("\x05")
    shown = terminal.wait_for("changed 0")
    assert "now" in shown and "ahead" not in shown
    terminal.wait_for("ahead")
    terminal.type("\n")
    terminal.wait_for("last")
    terminal.wait_for(">")
    terminal.type("\x04")
    assert terminal.process.wait(10) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.modes


def test_suspended_while_it_answers(terminal: Terminal) -> None:
    terminal.wait_for(">")
    terminal.type("one\n")
    terminal.wait_for("changed 0")
    terminal.wait_for(">")
    terminal.type("two\n")
    terminal.wait_for("slow")
    terminal.process.send_signal(signal.SIGTSTP)
    assert os.WIFSTOPPED(os.waitpid(terminal.process.pid, os.WUNTRACED)[1])
    assert termios.tcgetattr(terminal.slave) == terminal.modes
    terminal.process.send_signal(signal.SIGCONT)
    end = time.monotonic() + 20
    while termios.tcgetattr(terminal.slave)[3] & termios.ECHO:
        assert time.monotonic() < end
        time.sleep(0.01)
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for("cancelled")
    terminal.wait_for(">")
    terminal.type("\x04")
    assert terminal.process.wait(10) == 0
