"""The whole command on a real terminal (a pseudo-terminal), with a scripted engine."""

from __future__ import annotations

import json
import random
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


def answering(terminal: Terminal) -> None:
    """The first question was answered; the answer to the second one comes slowly."""
    terminal.wait_for(READY)
    terminal.type("one\n")
    terminal.wait_for("changed 0")
    terminal.wait_for(READY)
    terminal.type("two\n")
    terminal.wait_for("slow")


def test_keys_while_it_answers(terminal: Terminal) -> None:
    answering(terminal)
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


BUSY = """
import json, random, sys, time
from fake_engine import FakeEngine, reply, token
from ledlocal import cli
import ledlocal.commands.chat as chat
draw = random.Random(int(sys.argv[1]))
engine = FakeEngine()
for _ in range(40):
    first = reply("done")
    pause = lambda: time.sleep(draw.uniform(0, 0.1))
    engine.enqueue([first[0], *[pause] * 3, *first[1:]])
def start(options):
    time.sleep(0.4)
    return engine.start(options)
chat.start_engine = start
try:
    cli.main(["chat", "-s", "41"])
finally:
    print("ASKED", json.dumps([request.messages[-1].content for request in engine.requests]), flush=True)
"""


@pytest.mark.parametrize("seed", range(3))
def test_lines_typed_at_any_moment_are_sent_one_by_one_in_their_order(seed: int) -> None:
    """While it loads, while it answers, and while the lines typed before are sent."""
    draw = random.Random(seed)
    wanted = [f"line {i}" for i in range(40)]
    with Terminal(str(seed), script=BUSY) as terminal:
        terminal.wait_for("loading")
        for line in wanted:
            for piece in (line[:3], line[3:] + "\n"):
                terminal.type(piece)
                end = time.monotonic() + draw.choice((0, 0, 0.02, 0.1))
                while time.monotonic() < end:
                    terminal.settle_for(0.01)
        for _ in wanted:
            terminal.wait_for("changed 0")
        terminal.wait_for(READY)
        terminal.type("\x04")
        shown = terminal.wait_for("ASKED ") and terminal.wait_for("]")
    assert json.loads(shown) == wanted


def test_lines_typed_under_an_answer_that_is_stopped_wait_as_drafts_one_by_one(terminal: Terminal) -> None:
    answering(terminal)
    terminal.type("three\nfour\n")
    time.sleep(0.2)
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for("cancelled")
    terminal.wait_for("three")
    assert "four" not in terminal.shown()
    terminal.type("\n")
    terminal.wait_for("deep")
    terminal.type("\x05")
    terminal.wait_for("changed 0")
    terminal.wait_for("four")
    terminal.type("\x03")  # drops the draft
    terminal.wait_for("Ctrl-C again or Ctrl-D leaves")
    terminal.wait_for(READY)
    terminal.type("draft\x03")
    terminal.wait_for(READY)
    terminal.type("\x04")
    assert terminal.process.wait(10) == 0


def test_nothing_is_left_of_loading_when_lines_are_typed_meanwhile() -> None:
    with Terminal("0", script=BUSY) as terminal:
        terminal.wait_for("loading ...")
        terminal.type("ahead\n")
        shown = terminal.wait_for("changed 0")
        assert shown.index("ahead") > shown.index("Ctrl-D leaves")


@pytest.mark.parametrize("ahead", ["", "three\n"])
def test_ctrl_c_twice_under_an_answer_leaves(terminal: Terminal, ahead: str) -> None:
    """The first one has stopped it before the second one comes."""
    answering(terminal)
    terminal.type(ahead)
    terminal.type("\x03")
    terminal.wait_for("cancelled")
    terminal.wait_for(READY)
    terminal.type("\x03")
    assert terminal.process.wait(10) == 130
