"""Workers with a fake engine, and what the system knows of their processes."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from ledlocal.values.events import Event
from ledlocal.values.params import EngineOptions, Request
from ledlocal.worker.client import Worker

FAKE = (sys.executable, "-P", str(Path(__file__).parent / "fake_worker.py"))
linux = pytest.mark.skipif(sys.platform != "linux", reason="uses /proc and PR_SET_PDEATHSIG")


def fake(model: str = "m", *behaviour: str) -> Worker:
    return Worker(EngineOptions(model), (*FAKE, *behaviour))


def pid_of(worker: Worker) -> int:
    return int(worker.loaded.notices[0])


def children() -> set[int]:
    """Processes that a thread of this one has started."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(pid)


def count_to(worker: Worker, n: int, samples: int = 1) -> list[Event]:
    return list(worker.generate(Request(prompt=f"count {n}", n=samples)))
