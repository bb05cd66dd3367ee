"""Real terminals, which a test types into and reads."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import pytest

LIMIT_S = 60.0


class Tmux:
    """A program in a terminal of its own. Skips the test where there is no tmux."""

    def __init__(self, command: str, columns: int, lines: int, folder: Path) -> None:
        if shutil.which("tmux") is None:
            pytest.skip("tmux is not installed")
        self._name = ["tmux", "-L", f"ledlocal-{uuid.uuid4()}"]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("TMUX")}
        environ |= {"XDG_DATA_HOME": str(folder), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        # a busy tmux takes a moment, and a shell may hold on to the size that it saw first
        sized = f'until [ "$(stty size)" = "{lines} {columns}" ]; do sleep 0.05; done; unset COLUMNS LINES'
        subprocess.run([*self._name, "-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(lines),
                        f"{sized}; {command}; echo left with $?; sleep 60"], check=True, env=environ)

    def type(self, *keys: str) -> None:
        subprocess.run([*self._name, "send-keys", *keys], check=True)

    def tell(self, *command: str) -> str:
        return subprocess.run([*self._name, *command], check=True, capture_output=True, text=True).stdout

    def screen(self) -> str:
        return self.tell("capture-pane", "-p")

    def wait_for(self, text: str) -> str:
        end = time.monotonic() + LIMIT_S
        while text not in (shown := self.screen()):
            assert time.monotonic() < end, f"waited for {text!r}, got\n{shown}"
            time.sleep(0.03)
        return shown

    def close(self) -> None:
        subprocess.run([*self._name, "kill-server"], check=False)
