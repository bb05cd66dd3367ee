"""The whole command on a real terminal (a pseudo-terminal), with a scripted engine."""

from __future__ import annotations

import signal
import termios
import time
from collections.abc import Iterator

import pytest
from real_command import READY, Terminal

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
engine.enqueue(reply("more"))
chat.start_engine = engine.start
cli.main(["chat", "-s", "41"])
"""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.delenv("NO_COLOR", raising=False)
    with Terminal(script=SCRIPT) as opened:
        yield opened


def test_a_session(terminal: Terminal) -> None:
    terminal.wait_for(READY)
    terminal.type("Make 13.\n")
    shown = terminal.wait_for("changed 0")
    assert "Wait•10 plus 3\r\n\r\nIt is 13␛]0;title␇.\r\n" in shown
    terminal.wait_for(READY)
    terminal.type("Again.\n")
    terminal.wait_for("slow")
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for("finish: cancelled")
    terminal.wait_for(READY)
    terminal.type("\x04")
    assert terminal.process.wait(10) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.modes


def test_sigterm_at_the_prompt_puts_the_terminal_back(terminal: Terminal) -> None:
    terminal.wait_for(READY)
    end = time.monotonic() + 20
    while termios.tcgetattr(terminal.slave) == terminal.modes:  # the line editor sets its own
        assert time.monotonic() < end
        time.sleep(0.01)
    terminal.process.terminate()
    assert terminal.process.wait(10) == 128 + signal.SIGTERM
    assert termios.tcgetattr(terminal.slave) == terminal.modes


def test_keys_while_it_answers(terminal: Terminal) -> None:
    terminal.wait_for(READY)
    terminal.type("one\n")
    terminal.wait_for("changed 0")
    terminal.wait_for(READY)
    terminal.type("two\n")
    terminal.wait_for("slow")
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for("cancelled")
    terminal.wait_for(READY)
    terminal.type("three\n")
    terminal.wait_for("deep")
    silent = termios.tcgetattr(terminal.slave)
    assert not silent[3] & (termios.ECHO | termios.ICANON) and silent[3] & termios.ISIG
    terminal.type("/seed 7\nahead\ndraft")
    terminal.type("\x05")
    shown = terminal.wait_for("changed 0")
    assert "now" in shown and "ahead" not in shown
    shown = terminal.wait_for("last")
    assert shown.index("limits    seed 7") < shown.index("ahead")
    terminal.wait_for("draft")
    terminal.type("\n")
    terminal.wait_for("more")
    terminal.wait_for(READY)
    terminal.type("\x04")
    assert terminal.process.wait(10) == 0
    assert termios.tcgetattr(terminal.slave) == terminal.modes
