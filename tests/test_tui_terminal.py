"""The terminal UI in a real terminal, on the demo model."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_command import Terminal
from tmux import Tmux
from worker_processes import gone_within

LOAD_S = 30.0
"""That the slow model takes to load."""


@pytest.fixture
def tmux(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tmux]:
    command, columns, lines = request.param
    terminal = Tmux(f"{sys.executable} -P -m ledlocal {command} demo -t 1 -s 4", columns, lines, tmp_path)
    yield terminal
    terminal.close()


def kept_in(folder: Path) -> list[str]:
    """Conversations, the first one first."""
    kept = (folder / "ledlocal" / "conversations").iterdir()
    return [path.read_text() for path in sorted(kept, key=lambda path: path.stem)]  # of one second, too


@pytest.mark.parametrize("tmux", [("tui", 120, 36), ("tui", 80, 24)], indirect=True, ids=["wide", "80x24"])
def test_a_conversation_from_start_to_end(tmux: Tmux, tmp_path: Path) -> None:
    tmux.wait_for("countdown-rl3 · 0/512 tokens · led")
    tmux.type("Use 3, 4, 5 and 7 to make 30.", "Enter")  # in one piece, as over a slow line
    shown = tmux.wait_for("79 thinking + 15 answer tokens")  # the seed decides
    assert "((5*4)+3)+7=30" in shown and "▾ thinking · 79 tokens" in shown and "explored 7, changed 1" in shown
    tmux.type("F3")
    shown = tmux.wait_for("✓ right · 79 thinking + 15 answer")
    assert "◆5" in shown and "◆12•" in shown and "standard" in shown
    tmux.type("Escape")
    tmux.wait_for("▾ thinking · 79 tokens")
    tmux.type("C-q")
    shown = tmux.wait_for("left with 0")
    assert "thinking" not in shown  # the screen from before is back
    [kept] = kept_in(tmp_path)
    assert '"content": "((5*4)+3)+7=30"' in kept


@pytest.mark.slow
@pytest.mark.parametrize("tmux", [("tui", 120, 36)], indirect=True)
def test_stopped_looked_at_and_forked(tmux: Tmux, tmp_path: Path) -> None:
    tmux.wait_for("countdown-rl3 · 0/512 tokens")
    tmux.type("Use 2, 3, 4 and 5 to make 99.", "Enter")  # there is no way: it thinks until the context is full
    for _ in range(10):
        tmux.wait_for("▾ thinking")
        tmux.type("C-c")
        shown = tmux.wait_for("finish: ")
        if "finish: cancelled" in shown:
            break
        tmux.type("C-r")  # this machine was too busy to press the key in time
        tmux.wait_for("^c stop")
    shown = tmux.wait_for("^g go on")
    assert "finish: cancelled" in shown and "^c stop" not in shown
    tmux.type("C-n")
    tmux.wait_for("0/512 tokens")
    tmux.type("Use 3, 4, 5 and 7 to make 30.", "Enter")
    tmux.wait_for("79 thinking + 15 answer tokens")
    tmux.type("F2")
    shown = tmux.wait_for("token 2 · 94 shown · 3 · thinking")
    assert "coin 0.484: explored, same token" in shown and "H 1.281 ◀ mix to here" in shown and "▸3" in shown
    tmux.type("Down")
    tmux.wait_for("▸4")
    tmux.type("f")
    shown = tmux.wait_for("117 thinking + 15 answer tokens")
    assert "  ▸4-3=1,1+5=6" in shown and "explored  10" in shown
    tmux.type("F3")
    tmux.wait_for("judged by calculating")
    tmux.type("C-q")
    tmux.wait_for("left with 0")
    stopped, straight, forked = kept_in(tmp_path)
    assert '"finish": "cancelled"' in stopped
    assert "3◦" not in straight and '"thinking": "3*4=12' in straight and '"thinking": "4-3=1,1+5=6' in forked


@pytest.mark.slow
@pytest.mark.parametrize("tmux", [("chat", 80, 24)], indirect=True)
def test_a_chat_goes_on_on_the_screen_and_comes_back(tmux: Tmux, tmp_path: Path) -> None:
    tmux.wait_for("Ctrl-D leaves")
    tmux.type("Use 3, 4, 5 and 7 to make 30.", "Enter")
    tmux.wait_for("79 thinking + 15 answer tokens")
    tmux.type("/tui", "Enter")
    tmux.wait_for("countdown-rl3 · 119/512 tokens · led")  # the same engine, all was said
    shown = tmux.wait_for("thinking · 79 tokens")  # token by token
    assert "((5*4)+3)+7=30" in shown
    tmux.type("again", "Enter")
    tmux.wait_for("tokens/s · explored")
    tmux.type("C-q")
    shown = tmux.wait_for("the conversation goes on after 2 turns")
    assert "> again" in shown and "f1 help" not in shown
    tmux.type("/stats", "Enter")
    tmux.wait_for("session   2 answers")
    tmux.type("/tui", "Enter")
    tmux.wait_for("f1 help")
    tmux.type("C-q")
    tmux.wait_for("> /tui\n>")
    tmux.type("/seed", "Enter")
    tmux.wait_for("seed 4")
    tmux.type("C-d")
    tmux.wait_for("left with 0")
    [kept] = kept_in(tmp_path)
    assert kept.count('"role": "user"') == 2


SLOW = """
import sys
import time
from worker_processes import fake
import ledlocal.commands.tui as command
from ledlocal import cli
command.start_engine = lambda options: fake("sleep")  # a model that takes its time
cli.main(["tui", "demo"])
"""


def test_nobody_waits_for_a_model_that_is_not_wanted() -> None:
    with Terminal(script=SLOW) as terminal:
        terminal.wait_for("loading ...")
        worker = terminal.worker
        began = time.monotonic()
        terminal.type("\x11")
        assert terminal.ended() == 0 and time.monotonic() - began < LOAD_S / 2
        assert terminal.restored
        assert gone_within(worker, 5)
