"""Context against memory, on cases worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bad_ggufs import good, put

import ledlocal.demo
from ledlocal.runtime.header import Header, read_header
from ledlocal.runtime.memory import available_memory, compute_bytes, fit_context, kv_bytes_per_token
from ledlocal.values.errors import OutOfResources


def header(folder: Path, architecture: str = "llama", **keys: tuple[str, Any]) -> Header:
    gguf = good()
    gguf.metadata = {str(key).replace("llama.", f"{architecture}."): value for key, value in gguf.metadata.items()}
    put("str", architecture, "general.architecture")(gguf)
    for key, value in keys.items():
        gguf.metadata[f"{architecture}.{key.replace('__', '.')}"] = value
    path = folder / "model.gguf"
    path.write_bytes(gguf.build())
    return read_header(path)


@pytest.mark.parametrize(("architecture", "keys", "expected"), [
    # One layer, 2 heads of 16, keys and values, 2 bytes each.
    ("llama", {}, 1 * 2 * (16 + 16) * 2),
    # Qwen3-0.6B: 28 layers, 8 key heads of 128.
    ("qwen3", {"block_count": ("u32", 28), "embedding_length": ("u32", 1024), "attention__head_count": ("u32", 16),
               "attention__head_count_kv": ("u32", 8), "attention__key_length": ("u32", 128),
               "attention__value_length": ("u32", 128)}, 28 * 8 * 256 * 2),
    # Only layers 2 and 4 have attention, with 4 and 1 key heads of 16.
    ("lfm2", {"block_count": ("u32", 4), "attention__head_count_kv": ("[i32]", [0, 4, 0, 1]),
              "attention__head_count": ("u32", 2)}, (4 + 1) * 32 * 2),
    # Every fourth of 8 layers has attention.
    ("qwen35", {"block_count": ("u32", 8)}, 2 * 2 * 32 * 2),
    ("qwen3next", {"block_count": ("u32", 8), "full_attention_interval": ("u32", 2)}, 4 * 2 * 32 * 2),
    # DeepSeek-V3: 61 layers and one of prediction, one latent of 576, no values.
    ("deepseek2", {"block_count": ("u32", 62), "nextn_predict_layers": ("u32", 1), "attention__head_count_kv":
                   ("u32", 1), "attention__key_length": ("u32", 576), "attention__value_length": ("u32", 512),
                   "attention__key_length_mla": ("u32", 192), "attention__value_length_mla": ("u32", 128)},
     61 * 576 * 2),
    ("mamba", {}, 0),
])
def test_kv_bytes_per_token(architecture: str, keys: dict[str, tuple[str, Any]], expected: int,
                            tmp_path: Path) -> None:
    assert kv_bytes_per_token(header(tmp_path, architecture, **keys)) == expected


def test_the_demo_model() -> None:
    demo = read_header(Path(ledlocal.demo.__file__).parent / "countdown-rl-f16.gguf")
    meta = demo.metadata
    heads, key = meta["qwen3.attention.head_count_kv"], meta["qwen3.attention.key_length"]
    layers = meta["qwen3.block_count"]
    assert isinstance(heads, int) and isinstance(key, int) and isinstance(layers, int)
    assert kv_bytes_per_token(demo) == layers * heads * 2 * key * 2


def test_fit_context(tmp_path: Path) -> None:
    small = header(tmp_path)
    fixed = small.size + compute_bytes(small)
    cell = 128 + 6 * 512
    for slots in (1, 3):
        room = fixed + slots * cell * 1024
        assert fit_context(small, 1000, slots, room) == 1000
        assert fit_context(small, 1024, slots, room) == 1024
        assert fit_context(small, 1025, slots, room) == 1024
        assert fit_context(small, 100_000, slots, room - 1) == 768
    with pytest.raises(OutOfResources, match=r"model\.gguf: needs 0\.\d\d GiB for 256 tokens of context x 2"):
        fit_context(small, 64, 2, fixed + 2 * cell * 256 - 1)


def test_all_parts_count(tmp_path: Path) -> None:
    whole = header(tmp_path)
    gguf = good()
    put("u16", 2, "split.count")(gguf)
    first = tmp_path / "m-00001-of-00002.gguf"
    first.write_bytes(gguf.build())
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(b"x" * 50_000_000)
    room = whole.size + compute_bytes(whole) + (128 + 6 * 512) * 4096
    assert fit_context(whole, 4096, 1, room) == 4096
    with pytest.raises(OutOfResources):
        fit_context(read_header(first), 4096, 1, room)


def fake(folder: Path, files: dict[str, str]) -> tuple[Path, Path]:
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(body)
    return folder / "proc", folder / "cgroup"


MEMINFO = "MemTotal:       16000000 kB\nMemFree:  1 kB\nMemAvailable:    8000000 kB\n"


def test_available_memory_without_a_group(tmp_path: Path) -> None:
    assert available_memory(*fake(tmp_path, {"proc/meminfo": MEMINFO})) == 8_000_000 * 1024
    assert available_memory() > 0
    assert available_memory(tmp_path / "none") > available_memory()


def test_available_memory_in_a_group(tmp_path: Path) -> None:
    outer = {"cgroup/a/memory.max": "1000000\n", "cgroup/a/memory.current": "400000\n",
             "cgroup/a/memory.stat": "anon 5\ninactive_file 100000\n"}
    inner = {"cgroup/a/b/memory.max": "max\n", "cgroup/a/b/memory.current": "7\n", "cgroup/a/b/memory.stat": "anon 5\n"}
    base = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b\n"}
    assert available_memory(*fake(tmp_path, base | outer | inner)) == 1_000_000 - 400_000 + 100_000
    assert available_memory(*fake(tmp_path, {"cgroup/a/b/memory.max": "300\n"})) == 293


def test_available_memory_in_a_v1_group(tmp_path: Path) -> None:
    where = fake(tmp_path, {
        "proc/meminfo": MEMINFO, "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/not/mounted/here\n",
        "cgroup/memory/memory.limit_in_bytes": "5000\n", "cgroup/memory/memory.usage_in_bytes": "4000\n",
        "cgroup/memory/memory.stat": "total_inactive_file 500\n"})
    assert available_memory(*where) == 1500
