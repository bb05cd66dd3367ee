"""Ctrl-C, a killed, closed or suspended terminal: the real command with a real engine on a real terminal."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from real_command import READY, Terminal, start
from tiny_models import tiny_model
from worker_processes import alive, gone_within, linux

from ledlocal.conversation import latest, read_conversation

pytestmark = linux

PROMPT = "leaves\r\n" + READY
"""The end of the banner."""
REACTION_S = 0.25
TRIES = 3
"""Batches of reactions to measure before one is called slow: a machine may be busy."""


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its prefill of 4,096 tokens takes seconds."""
    return tiny_model(tmp_path_factory.mktemp("slow") / "m.gguf", "qwen3", n_layer=8, n_embd=384, n_head=6, n_ff=1024)


@pytest.fixture
def session(slow_model: Path) -> Callable[..., Terminal]:
    """A chat with the slow model; `shell`: in the foreground of another process."""
    args = ("chat", str(slow_model), "-t", "1", "-s", "1", "-c", "8192", "--method", "standard", "--tap", "none")
    return lambda shell=False: Terminal(*args, shell=shell)


def ask_at_length(terminal: Terminal, number: int) -> None:
    """4,096 tokens (bytes) that no earlier prompt begins with; returns when the last of them was taken."""
    lines = [f"{number}" + "x y. " * 204] + ["z w, " * 204] * 3
    terminal.send("\\\n".join(lines) + f"\\\ngo{number}")


def ask(terminal: Terminal) -> None:
    """A short question; returns when its answer has begun (the modes of the terminal are the command's then)."""
    terminal.send("x y.")
    time.sleep(0.4)


def reactions(terminal: Terminal, moments: list[float], ask_first: Callable[[int], None], shows: str) -> list[float]:
    """Seconds from each Ctrl-C to the line that says it."""
    times = []
    for number, moment in enumerate(moments):
        ask_first(number)
        time.sleep(moment)
        pressed = time.monotonic()
        terminal.type("\x03")
        said = terminal.wait_for("finish: cancelled")
        times.append(time.monotonic() - pressed)
        assert shows in said, said
        terminal.wait_for(READY)
        terminal.send("/clear")
        terminal.wait_for(READY)
    return sorted(times)


@pytest.mark.parametrize(("where", "longest_s", "shows"), [
    ("prefill", 0.8, "0 thinking + 0 answer tokens"), ("decode", 0.5, "answer tokens")])
def test_ctrl_c_reacts_at_once(where: str, longest_s: float, shows: str, session: Callable[..., Terminal],
                               record_property: Callable[[str, object], None]) -> None:
    draw = random.Random(7)
    with session() as terminal:
        terminal.wait_for(PROMPT)
        ask_first = ((lambda number: ask_at_length(terminal, number)) if where == "prefill"
                     else (lambda number: ask(terminal)))
        for _ in range(TRIES):
            times = reactions(terminal, [draw.uniform(0, longest_s) for _ in range(10)], ask_first, shows)
            record_property(f"ctrl-c in a {where}, s", [round(t, 4) for t in times])
            if times[-1] < REACTION_S:
                break
        assert times[-1] < REACTION_S, times
        terminal.type("\x04")
        assert terminal.ended() == 0
        assert terminal.restored


def test_ctrl_c_while_loading(session: Callable[..., Terminal]) -> None:
    with session() as terminal:
        while not (child := children(terminal.pid)):
            time.sleep(0.01)
        time.sleep(0.1)
        terminal.type("\x03")
        assert terminal.ended(5) == 130
        assert "ledlocal: interrupted\r\n" in terminal.shown() and "Traceback" not in terminal.shown()
        assert terminal.restored and all(gone_within(pid, 1) for pid in child)


def children(pid: int) -> list[int]:
    """Processes that a thread of this one has started."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def test_ctrl_c_twice_at_the_prompt_leaves(session: Callable[..., Terminal]) -> None:
    with session() as terminal:
        terminal.wait_for(PROMPT)
        ask(terminal)
        terminal.type("\x03")
        terminal.wait_for("finish: cancelled")
        terminal.wait_for(READY)
        time.sleep(1)  # sooner it would be the second of two
        terminal.type("\x03")
        terminal.wait_for("Ctrl-C again or Ctrl-D leaves\r\n" + READY)
        time.sleep(0.1)
        terminal.type("\x03")
        assert terminal.ended() == 130
        assert terminal.restored


def test_a_second_ctrl_c_does_not_wait_for_an_engine_that_hangs(session: Callable[..., Terminal]) -> None:
    with session() as terminal:
        terminal.wait_for(PROMPT)
        ask(terminal)
        worker = terminal.worker
        os.kill(worker, signal.SIGSTOP)
        terminal.type("\x03")
        time.sleep(0.2)
        pressed = time.monotonic()
        terminal.type("\x03")
        assert terminal.ended() == 130
        took = time.monotonic() - pressed
        assert terminal.restored and not alive(worker)
        assert took < 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("where", ["loading", "prompt", "prefill", "decode"])
def test_signals_end_it_and_put_the_terminal_back(
        number: signal.Signals, where: str, session: Callable[..., Terminal]) -> None:
    with session() as terminal:
        if where == "loading":
            while not children(terminal.pid):
                time.sleep(0.01)
        else:
            terminal.wait_for(PROMPT)
        if where == "prefill":
            ask_at_length(terminal, 1)
        elif where == "decode":
            ask(terminal)
        time.sleep(0.3)
        [worker] = children(terminal.pid)
        for _ in range(5):  # readline sees a signal from within its select only, not just before it
            with contextlib.suppress(ProcessLookupError):
                terminal.process.send_signal(number)
            with contextlib.suppress(AssertionError):
                terminal.ended(1)
                break
        if where == "decode":
            kept = read_conversation(latest())
            assert kept.turns[-1].user == "x y." and kept.turns[-1].ids
        expected = (128 + number, -number) if where == "loading" else (128 + number,)  # a shell calls both the same
        assert terminal.ended(1) in expected
        assert terminal.restored and gone_within(worker, 1)
        assert "Traceback" not in terminal.shown()


@pytest.mark.parametrize("where", ["prompt", "prefill", "decode"])
def test_a_closed_window_ends_it(where: str, session: Callable[..., Terminal]) -> None:
    with session() as terminal:
        terminal.wait_for(PROMPT)
        if where == "decode":
            ask(terminal)
        elif where == "prefill":
            ask_at_length(terminal, 0)
            terminal.wait_for("reading the prompt")
        worker = terminal.worker
        terminal.hang_up()
        assert terminal.process.wait(5) == 128 + signal.SIGHUP
        assert gone_within(worker, 1)


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("where", ["prompt", "decode"])
def test_suspended_and_resumed(where: str, session: Callable[..., Terminal]) -> None:
    with session(shell=True) as terminal:
        terminal.wait_for(PROMPT)
        pid = terminal.pid
        if where == "decode":
            ask(terminal)
        terminal.type("\x1a")
        end = time.monotonic() + 5
        while not stopped(pid):
            assert time.monotonic() < end
            time.sleep(0.01)
        assert terminal.restored or (where == "prompt" and terminal.echoes)
        os.kill(pid, signal.SIGCONT)
        if where == "decode":
            end = time.monotonic() + 5
            while terminal.echoes:  # it takes its modes again
                assert time.monotonic() < end
                time.sleep(0.01)
            terminal.type("\x03")
            terminal.wait_for("finish: cancelled")
            terminal.wait_for(READY)
        time.sleep(0.3)
        terminal.send("/set seed 4")
        terminal.wait_for("seed 4 ")
        terminal.wait_for(READY)
        terminal.type("\x04")
        assert terminal.ended() == 0
        assert terminal.restored


def test_a_storm_of_new_sizes(session: Callable[..., Terminal]) -> None:
    with session() as terminal:
        terminal.wait_for(PROMPT)
        for where in ("prompt", "decode"):
            if where == "decode":
                ask(terminal)
            for _ in range(300):
                os.kill(terminal.pid, signal.SIGWINCH)
                time.sleep(0.001)
            if where == "prompt":
                terminal.settle()
        terminal.type("\x03")
        terminal.wait_for("finish: cancelled")
        terminal.wait_for(READY)
        terminal.type("\x04")
        assert terminal.ended() == 0
        assert terminal.restored


def test_a_reader_that_leaves_ends_it_quietly(slow_model: Path) -> None:
    with start("chat", str(slow_model), "x", "-t", "1", "--tap", "none", "--method", "standard", "-q",
               "--think-tags", "<a>,</a>") as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.close()
        assert process.stdout.read(4)
        [worker] = children(process.pid)
        process.stdout.close()
        assert process.wait(10) == 141
        assert process.stderr.read() == b""
        assert gone_within(worker, 1)


@pytest.mark.slow
def test_ctrl_c_at_any_moment_is_one_line_and_leaves_nothing(slow_model: Path) -> None:
    draw = random.Random(11)
    for _ in range(40):
        args = ("chat", str(slow_model), "x y." * 200, "-t", "1", "--tap", "none", "--method", "standard")
        with start(*args) as process:
            assert process.stdin
            process.stdin.close()
            while not (child := children(process.pid)):
                time.sleep(0.005)
            time.sleep(draw.uniform(0, 1.2))
            process.send_signal(signal.SIGINT)
            sent = time.monotonic()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            assert process.stderr
            said = process.stderr.read().decode()
            assert process.returncode == 130, said
            assert time.monotonic() - sent < 2
            assert "Traceback" not in said and ("ledlocal: interrupted\n" in said) != ("finish: cancelled" in said)
            assert all(gone_within(pid, 1) for pid in child)
