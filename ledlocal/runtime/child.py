"""A Python module of this package run in a process of its own, which may die of what it does."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

LIMIT_S = 120.0


def run_child(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m module`: no debugger and no core file where it crashes. After LIMIT_S it is killed (code -9)."""
    command = [sys.executable, "-P", "-m", module, *arguments]
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="backslashreplace", timeout=LIMIT_S, env={**os.environ, "GGML_NO_BACKTRACE": "1"},
                              preexec_fn=_no_core)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, -9, "", f"no answer after {LIMIT_S:.0f} s")


def _no_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
