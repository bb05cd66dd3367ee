"""The terminal UI in a real terminal, on the demo model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import token
from test_tui_numbers import FORK

from ledlocal.trace import TraceWriter, read_trace

LIMIT_S = 60.0


class Tmux:
    """A program in a terminal of its own."""

    def __init__(self, command: str, columns: int, lines: int, folder: Path) -> None:
        self._name = ["tmux", "-L", f"ledlocal-{uuid.uuid4()}"]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("TMUX")}
        environ |= {"XDG_DATA_HOME": str(folder), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        subprocess.run([*self._name, "new-session", "-d", "-x", str(columns), "-y", str(lines),
                        f"{command}; echo left with $?; sleep 60"], check=True, env=environ)

    def type(self, *keys: str) -> None:
        subprocess.run([*self._name, "send-keys", *keys], check=True)

    def tell(self, *command: str) -> str:
        done = subprocess.run([*self._name, *command], check=True, capture_output=True, text=True)
        return done.stdout

    def screen(self) -> str:
        return subprocess.run([*self._name, "capture-pane", "-p"], check=True, capture_output=True, text=True).stdout

    def wait_for(self, text: str) -> str:
        end = time.monotonic() + LIMIT_S
        while text not in (shown := self.screen()):
            assert time.monotonic() < end, f"waited for {text!r}, got\n{shown}"
            time.sleep(0.1)
        return shown

    def close(self) -> None:
        subprocess.run([*self._name, "kill-server"], check=False)


@pytest.fixture
def tmux(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    columns, lines = request.param
    terminal = Tmux(f"{sys.executable} -P -m ledlocal tui demo -t 1 -s 4", columns, lines, tmp_path)
    yield terminal
    terminal.close()


@pytest.mark.parametrize("tmux", [(120, 36), (80, 24)], indirect=True, ids=["wide", "80x24"])
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
    [kept] = (tmp_path / "ledlocal" / "conversations").iterdir()
    assert '"content": "((5*4)+3)+7=30"' in kept.read_text()


def test_a_recorded_trace(tmp_path: Path) -> None:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    given = [token("I", "thinking", 0), replace(FORK, i=1), token("Yes.", "answer", 2), token("No.", "answer", 0)]
    with closing(TraceWriter(tmp_path / "two.jsonl")) as writer:
        for one in given:
            writer.write(one)
    command = f"cd {tmp_path} && {sys.executable} -P -m ledlocal trace two.jsonl --tui"
    with closing(Tmux(command, 80, 24, tmp_path)) as tmux:
        tmux.tell("set-option", "-s", "set-clipboard", "on")
        shown = tmux.wait_for("c copy s save esc back ^q quit f1 help")
        assert "reply 1 of 2 · token 1 · 3 shown · wait · thinking" in shown
        assert "L12   ▅ 0.600   ▂ 0.200   H 0.560" in shown
        tmux.type("c")
        tmux.wait_for("copied thinking and answer, 11 characters")
        assert tmux.tell("show-buffer") == "Iwait\n\nYes."
        tmux.type("s")
        tmux.wait_for("saved 3 tokens in trace-")
        [saved] = tmp_path.glob("trace-*.jsonl")
        assert list(read_trace(saved)) == list(read_trace(tmp_path / "two.jsonl"))[:3]
        tmux.type("Tab")
        tmux.wait_for("reply 2 of 2 · token 0 · 1 shown · No. · answer")
        tmux.type("Escape")
        assert "reply" not in tmux.wait_for("left with 0")
