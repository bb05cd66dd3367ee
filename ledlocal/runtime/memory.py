"""How much context fits in memory: a safe estimate from the header, made before anything is loaded."""

from __future__ import annotations

import os
from pathlib import Path

from ledlocal.runtime.architectures import RECURRENT
from ledlocal.runtime.header import Header
from ledlocal.runtime.keys import Keys
from ledlocal.values.errors import OutOfResources

STEP = 256
"""Tokens; llama.cpp pads a sequence's cells to a multiple of this."""
BATCH = 512
"""Prompt tokens of one ubatch; what the compute allowance is for."""
_INTERVALS = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "qwen4exp": 4, "minimax-01": 8}
"""Every how many layers one has attention where the file does not say (src/models/*.cpp)."""


def kv_bytes_per_token(header: Header) -> int:
    """Bytes that one token of one sequence takes in an f16 KV cache.

    Every attention layer counts in full: a sliding window or layers that share a cache need less. The fixed state of
    recurrent layers (tens of MB per sequence at most) is not per token and is left to the compute allowance.
    """
    keys = Keys(header)
    if header.architecture in RECURRENT:
        return 0
    layers = keys.integer("block_count", 1, 512)
    heads = keys.per_layer("attention.head_count", layers, 1 << 14, [0] * layers)
    groups = keys.per_layer("attention.head_count_kv", layers, 1 << 14, heads)
    default = keys.integer("embedding_length", 1, 1 << 20) // max(heads[0], 1)
    key, value = (max(keys.integer(f"attention.{name}_length", 1, 1 << 14, default),
                      keys.integer(f"attention.{name}_length_swa", 1, 1 << 14, 0)) for name in ("key", "value"))
    if "attention.key_length_mla" in {name.removeprefix(keys.own("")) for name in header.metadata}:
        value = 0  # multi-head latent attention caches one compressed vector, its values are a view of it
    indexer = keys.integer("attention.indexer.key_length", 0, 1 << 14, 0)
    interval = keys.integer("full_attention_interval", 1, 512, _INTERVALS.get(header.architecture, 1))
    trunk = layers - keys.integer("nextn_predict_layers", 0, layers - 1, 0)
    return sum(2 * (n * (key + value) + indexer) for i, n in enumerate(groups[:trunk], 1) if n and i % interval == 0)


def compute_bytes(header: Header) -> int:
    """Allowance for compute buffers: 64 MiB and BATCH rows of f32 logits, 16 residual and 4 feed-forward streams."""
    keys = Keys(header)
    layers = keys.integer("block_count", 1, 512)
    width = keys.integer("embedding_length", 1, 1 << 20)
    hidden = max(keys.per_layer("feed_forward_length", layers, 1 << 24, [4 * width]))
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    vocabulary = 0 if tokens is None or isinstance(tokens, int | float | str) else len(tokens)
    return 4 * BATCH * (vocabulary + 16 * width + 4 * hidden) + (64 << 20)


def fit_context(header: Header, wanted: int, slots: int, available: int) -> int:
    """Tokens per sequence: `wanted` if `slots` such sequences fit in `available` bytes, else the most that do.

    The most is a multiple of STEP. Raises OutOfResources, naming what is needed, if not even STEP tokens fit.
    """
    weights = sum(path.stat().st_size for path in header.splits)
    fixed = weights + compute_bytes(header)
    cell = kv_bytes_per_token(header) + 6 * BATCH  # the attention mask: f32, and its f16 copy
    steps = (available - fixed) // (cell * slots * STEP)
    if steps < 1:
        needed = fixed + cell * slots * STEP
        raise OutOfResources(f"{header.path}: needs {needed / 2**30:.2f} GiB for {STEP} tokens of context x {slots}, "
                             f"{max(available, 0) / 2**30:.2f} GiB are free")
    return wanted if -(-wanted // STEP) <= steps else steps * STEP


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes this process may still take: MemAvailable, bounded by its cgroup (v2, v1) and every group above.

    Where there is no /proc (macOS), all of physical memory.
    """
    meminfo = proc / "meminfo"
    if not meminfo.exists():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
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
