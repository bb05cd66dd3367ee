"""What fits, on cases worked by hand; what is planned, against what a process then takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_models import tiny_model
from worker_processes import linux

from ledlocal.engine.engine import Engine
from ledlocal.runtime.memory import GPU_MARGIN, HOST, Need, available_memory, most_context, most_layers, shortage
from ledlocal.runtime.plan import Plan, plan_load, plan_of
from ledlocal.values.errors import BadInput, OutOfResources
from ledlocal.values.params import EngineOptions


def growing(fixed: int, per_token: int) -> Callable[[int], dict[str, Need]]:
    return lambda context: {HOST: Need(fixed, per_token * context)}


def test_a_need_is_the_sum_of_its_parts() -> None:
    assert (Need(1, 2, 3) + Need(10, 20, 30)).total == 66


@pytest.mark.parametrize(("free", "short"), [
    ({HOST: 6, "gpu": 5 + GPU_MARGIN}, ""), ({HOST: 5, "gpu": 5 + GPU_MARGIN}, HOST),
    ({HOST: 6, "gpu": 4 + GPU_MARGIN}, "gpu"), ({HOST: 6}, "")])
def test_shortage(free: dict[str, int], short: str) -> None:
    """A GPU keeps a margin; one that does not tell what is free is not asked."""
    assert shortage({HOST: Need(1, 2, 3), "gpu": Need(5)}, free) == short


def test_most_context() -> None:
    for wanted, fits in ((1000, 1000), (1024, 1024), (1025, 1024), (100_000, 1024), (10**7, 1024)):
        assert most_context(growing(100, 10), wanted, {HOST: 100 + 10 * 1024}) == fits
    assert most_context(growing(100, 10), 2048, {HOST: 100 + 10 * 1024 - 1}) == 768
    assert most_context(growing(100, 10), 2048, {HOST: 100 + 10 * 255}) == 0
    assert most_context(growing(100, 10), 128, {HOST: 100 + 10 * 255}) == 128


def test_most_layers() -> None:
    """30 of 40 layers fit on the GPU, or none."""
    def needs(layers: int) -> dict[str, Need]:
        return {HOST: Need((40 - layers) * 10), "gpu": Need(layers * 10)}

    assert most_layers(needs, 41, {HOST: 1000, "gpu": 305 + GPU_MARGIN}) == 30
    assert most_layers(needs, 41, {HOST: 1000, "gpu": 9 + GPU_MARGIN}) == 0


# ---- llama.cpp's plan ----


def planned(path: Path, wanted: int, free: int, monkeypatch: pytest.MonkeyPatch, **options: int) -> Plan:
    monkeypatch.setattr("ledlocal.runtime.footprint.available_memory", lambda: free)
    return plan_load(EngineOptions(str(path), **options), wanted, False)  # type: ignore[arg-type]


@linux
def test_a_plan_worked_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_model(tmp_path / "m.gguf", "qwen3")
    plan = planned(path, 2000, 10**9, monkeypatch)
    cells, layers, heads, width = 2048, 6, 2, 16
    assert plan.context == 2000 and plan.free == {HOST: 10**9} and plan.needs.keys() == {HOST}
    assert plan.needs[HOST].cache == cells * layers * heads * 2 * width * 2  # keys and values, two bytes each
    assert planned(path, 2000, 10**9, monkeypatch, slots=3).needs[HOST].cache == 3 * plan.needs[HOST].cache


@linux
def test_a_context_that_does_not_fit_is_refused_naming_the_largest_that_does(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_model(tmp_path / "m.gguf", "qwen3")
    room = planned(path, 1024, 10**9, monkeypatch).needs[HOST].total
    assert planned(path, 2048, room, monkeypatch).context == 1024
    with pytest.raises(OutOfResources, match=rf"{path}: needs 0\.\d\d GiB for 2048 tokens of context, 0\.\d\d GiB are "
                                             r"free; the largest context that fits is 1024"):
        planned(path, 2048, room, monkeypatch, context=2048)
    with pytest.raises(OutOfResources, match="no context fits"):
        planned(path, 2048, 1000, monkeypatch)


ALLOCATED = """
import ctypes, re, sys
import llama_cpp.llama_cpp as C
from ledlocal.engine.engine import Engine
from ledlocal.runtime import llama
from ledlocal.values.params import EngineOptions
lines = []
callback = C.llama_log_callback(lambda level, text, user: lines.append(text.decode()))
llama.start_backend()
C.llama_log_set(callback, ctypes.c_void_p(0))
with Engine(EngineOptions(sys.argv[1], context=2048, slots=2, tap="none", cache_type_k=sys.argv[2])) as engine:
    loaded = max(i for i, line in enumerate(lines) if "model buffer size" in line)  # before it, the plan was made
    sizes = [re.search("(?:KV|RS) buffer size = +([0-9.]+) MiB", line) for line in lines[loaded:]]
    print(sum(float(size[1]) for size in sizes if size), engine._session.cache_bytes / 2**20)
"""


@linux
@pytest.mark.parametrize(("architecture", "keys"), [
    *((name, "f16") for name in ("qwen3", "gemma3", "lfm2", "mamba", "granitehybrid", "gemma3n")), ("qwen3", "q4_0")])
def test_the_cache_is_what_llama_cpp_then_allocates(architecture: str, keys: str, tmp_path: Path) -> None:
    """Its own log of the real buffers tells, to two decimals of a MiB: full-size windows and recurrent states too."""
    path = tiny_model(tmp_path / "m.gguf", architecture, n_embd=256)
    done = subprocess.run([sys.executable, "-c", ALLOCATED, str(path), keys], capture_output=True, text=True,
                          check=True)
    allocated, expected = map(float, done.stdout.split())
    assert expected > 0.1
    assert allocated == pytest.approx(expected, abs=0.02)


USED = """
import re, sys
from pathlib import Path
from ledlocal.engine.engine import Engine
from ledlocal.runtime.footprint import Footprint
from ledlocal.runtime.llama import release_memory
from ledlocal.runtime.memory import HOST
from ledlocal.runtime.plan import params_of
from ledlocal.values.params import EngineOptions, Led, Request, Sampling
def memory(name):
    return int(re.search(name + r":\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) << 10
path, context, slots, tap = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
options = EngineOptions(path, context=context, slots=slots, tap=tap, threads=2)
footprint = Footprint(options, False)
planned = footprint.needs(params_of(options, context))[HOST].total + memory("VmRSS")
footprint.close()
release_memory()
with Engine(options) as engine:
    way = Sampling("standard" if tap == "none" else "led", led=Led(scope="all", exploit=False))
    request = Request(prompt="x y " * 400, thinking=way, answer=way, n=slots, max_tokens=8, ignore_eos=True)
    list(engine.generate(request))
    print(planned, memory("VmHWM"))
"""

SHAPES = {
    "a deep cache": ("qwen3", {"n_layer": 8, "n_embd": 512, "n_head": 8, "n_head_kv": 4}, 16384, 1, "auto"),
    "many slots": ("llama", {"n_layer": 6, "n_embd": 512, "n_head": 8, "n_ff": 2048}, 2048, 8, "auto"),
    "a large vocabulary": ("qwen3", {"n_layer": 4, "n_embd": 256, "vocab": 150_000}, 4096, 4, "auto"),
    "a large vocabulary, reference": ("qwen3", {"n_layer": 4, "n_embd": 256, "vocab": 150_000}, 4096, 1, "reference"),
    "sliding windows": ("gemma3", {"n_layer": 12, "n_embd": 512, "n_head": 8, "n_head_kv": 4}, 16384, 1, "auto"),
    "states": ("granitehybrid", {"n_layer": 12, "n_embd": 512, "n_head": 8}, 2048, 4, "auto"),
    "wide and plain": ("qwen2", {"n_layer": 4, "n_embd": 1024, "n_head": 16, "n_ff": 4096}, 2048, 1, "none"),
}
DEAR = ("a large vocabulary, reference", "states")
"""Measured with the slow tests."""


@linux
@pytest.mark.parametrize("shape", [
    pytest.param(shape, marks=pytest.mark.slow if shape in DEAR else ()) for shape in SHAPES])
def test_the_plan_is_within_10_percent_of_what_is_used(shape: str, tmp_path: Path) -> None:
    """Peak of the resident memory of a process that loads, reads a prompt and explores at every token."""
    architecture, sizes, context, slots, tap = SHAPES[shape]
    path = tiny_model(tmp_path / "m.gguf", architecture, **sizes)  # type: ignore[arg-type]
    done = subprocess.run([sys.executable, "-c", USED, str(path), str(context), str(slots), tap],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected, used = map(int, done.stdout.split())
    assert expected == pytest.approx(used, rel=0.1), (expected >> 20, used >> 20)


@linux
def test_a_process_of_its_own_plans_the_same(tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "m.gguf", "qwen3")
    plan = plan_of(path, 1000)
    with Engine(EngineOptions(str(path), context=1000)) as engine:
        assert engine.loaded.memory == {HOST: plan.needs[HOST].total}
    assert plan.context == 1000
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(BadInput, match=str(path)):
        plan_of(path, 1000)


# ---- what is free ----


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


def test_a_limit_of_address_space_bounds_what_is_free() -> None:
    """3 GiB, less what is taken and the margin; the rest of the machine's memory is beyond it."""
    script = ("import resource; from ledlocal.runtime.memory import ADDRESS_MARGIN, available_memory\n"
              "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n"
              "taken = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
              "print((3 << 30) - ADDRESS_MARGIN - taken - available_memory())")
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert abs(int(done.stdout)) < 16 << 20


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


@linux
def test_layers_leave_a_gpu_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine in words: 33 layers of 384 MiB, 8 GiB on the GPU and 6 on the host; the host gives where it takes."""
    layer, gib = 384 << 20, 1 << 30

    class Machine:
        known, model = True, SimpleNamespace(n_layer=32)

        def __init__(self, options: EngineOptions, _extra: bool, gpu_layers: int | None = None) -> None:
            self.gpu_layers = options.gpu_layers if gpu_layers is None else gpu_layers

        def needs(self, params: int) -> dict[str, Need]:
            on_gpu = 33 if self.gpu_layers is None else self.gpu_layers
            return {HOST: Need(layer * (33 - on_gpu), 1000), "CUDA0": Need(layer * on_gpu, 100 * params)}

        def free(self, _devices: object) -> dict[str, int]:
            return {HOST: 6 * gib, "CUDA0": 8 * gib}

        def close(self) -> None:
            pass

    monkeypatch.setattr("ledlocal.runtime.footprint.Footprint", Machine)
    monkeypatch.setattr("ledlocal.runtime.plan.params_of", lambda _options, context: context)
    plan = plan_load(EngineOptions("m.gguf"), 8192, False)
    assert (plan.gpu_layers, plan.context) == (19, 8192)  # 20 and the margin are 8 GiB without a cache
    assert plan_load(EngineOptions("m.gguf", gpu_layers=18), 8192, False).gpu_layers == 18
    with pytest.raises(OutOfResources, match="on CUDA0"):
        plan_load(EngineOptions("m.gguf", gpu_layers=30), 8192, False)
