"""Memory that is taken, as the system and the devices tell it."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from ledlocal.runtime import ggml
from ledlocal.runtime.llama import start_backend
from ledlocal.runtime.memory import HOST


class Taken:
    """Counts from when it is made. What other programs take of a GPU meanwhile is counted, too: ggml tells no more."""

    def __init__(self) -> None:
        start_backend()
        self._free = _free()

    def bytes(self) -> dict[str, int]:
        """By device: the peak of this process's resident memory, and what a GPU has less than before."""
        now = _free()
        return {HOST: peak_bytes()} | {name: max(0, free - now[name]) for name, free in self._free.items()}


def _free() -> dict[str, int]:
    devices = [ggml.device_at(i) for i in range(ggml.device_count())]
    told = {ggml.device_name(one).decode(): ggml.memory_of(one) for one in devices
            if ggml.device_type(one) != ggml.CPU_DEVICE}
    return {name: free for name, (free, total) in told.items() if total}


def peak_bytes() -> int:
    """Peak of this process's resident memory."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    for line in lines:  # getrusage would count what the parent was when it started this process
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
