"""Processor cores."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


@cache
def physical_cores() -> int:
    """Physical cores this process may use: two threads of one core share its arithmetic."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    siblings = set()
    for cpu in usable:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        siblings.add(topology.read_text() if topology.exists() else str(cpu))
    return len(siblings)
