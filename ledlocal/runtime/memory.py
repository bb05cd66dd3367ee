"""Memory: what is free, and how much of something fits in it."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

HOST = "host"
"""The CPU's memory, among the devices."""
STEP = 256
"""Tokens; llama.cpp pads a sequence's cells to a multiple of this."""
GPU_MARGIN = 512 << 20
"""Bytes of a GPU that no plan counts: workspaces of its kernels, and whatever else draws on the screen."""

ADDRESS_MARGIN = 512 << 20
"""Bytes of address space, where that is limited, that no plan counts: stacks and arenas of threads, workspaces."""


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes on one device."""

    weights: int = 0
    cache: int = 0
    """Keys, values and recurrent states."""
    compute: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.compute

    def __add__(self, other: Need) -> Need:
        return Need(self.weights + other.weights, self.cache + other.cache, self.compute + other.compute)


Needs = Mapping[str, Need]
"""By device."""


def shortage(needs: Needs, free: Mapping[str, int]) -> str:
    """The first device that has too little, empty if none has; one whose free memory is not known never has."""
    return next((device for device, need in needs.items() if device in free
                 and need.total + (0 if device == HOST else GPU_MARGIN) > free[device]), "")


def most_context(needs_at: Callable[[int], Needs], wanted: int, free: Mapping[str, int]) -> int:
    """`wanted` tokens if they fit, else the largest multiple of STEP that does; 0 if not even STEP tokens do."""
    if not shortage(needs_at(wanted), free):
        return wanted
    return STEP * _most(lambda steps: needs_at(steps * STEP), -(-wanted // STEP), free)


def most_layers(needs_at: Callable[[int], Needs], layers: int, free: Mapping[str, int]) -> int:
    """The largest number of GPU layers below `layers` that fits; 0 if none does."""
    return _most(needs_at, layers, free)


def _most(needs_at: Callable[[int], Needs], end: int, free: Mapping[str, int]) -> int:
    """The largest of 1 ... end - 1 that fits, else 0; needs grow with the number."""
    low, high = 0, end
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shortage(needs_at(middle), free) else (middle, high)
    return low


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes this process may still take: MemAvailable, bounded by ulimit -v, its cgroup (v2, v1) and every group above.

    Where there is no /proc (macOS), all of physical memory.
    """
    meminfo = proc / "meminfo"
    if not meminfo.exists():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        taken = int((proc / "self" / "statm").read_text().split()[0]) * resource.getpagesize()
        free = min(free, max(limit - taken - ADDRESS_MARGIN, 0))
    membership = proc / "self" / "cgroup"
    for line in membership.read_text().splitlines() if membership.exists() else ():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            free = min(free, _room(cgroups, group, "memory.max", "memory.current", "inactive_file"))
        elif "memory" in controllers.split(","):
            free = min(free, _room(cgroups / "memory", group, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                   "total_inactive_file"))
    return free


def _room(root: Path, group: str, limit: str, usage: str, reclaimable: str) -> int:
    """The least room in a cgroup and its ancestors, as far as they are visible here; cached file pages count as room.

    In a container the own group is often mounted as the root, so that only the root's files are there.
    """
    room = 2**63
    folder = root / group.strip("/")
    for place in (folder, *folder.parents):
        if (place / limit).exists() and (text := (place / limit).read_text().strip()) != "max":
            stat = dict(line.split() for line in (place / "memory.stat").read_text().splitlines())
            used = int((place / usage).read_text()) - int(stat.get(reclaimable, 0))
            room = min(room, max(int(text) - used, 0))
        if place == root:
            break
    return room
