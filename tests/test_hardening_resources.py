"""Too little memory, disk, descriptors or threads; and that nothing grows with time. Real processes."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bad_ggufs import Tensor, good
from real_command import Done, refused, run, start
from tiny_models import tiny_model
from worker_processes import children, linux

from ledlocal.models import DEMO
from ledlocal.runtime.install import stock_folder
from ledlocal.values.params import EngineOptions, Request
from ledlocal.worker.client import Worker
from ledlocal.worker.server import SLACK

pytestmark = linux

ASK = ("chat", "demo", "hi", "-n", "4", "-t", "1")
GIB = 2**30


def limited(name: str, amount: int, *args: str, cache: Path) -> Done:
    """The command under one limit of the kernel's."""
    return run(*(args or ASK), limits=f"resource.setrlimit(resource.RLIMIT_{name}, ({amount}, {amount}))", cache=cache)


def one_line(done: Done, *codes: int) -> None:
    """It worked, or ended with one of these codes and one line."""
    if done.code != 0:
        assert done.code in codes, done
        refused(done, code=done.code)


def test_a_model_larger_than_memory_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    """384 GiB of experts, none of it on the disk."""
    path, gguf = tmp_path / "m.gguf", good()
    width, hidden, experts = 32, 2**20, 1024
    for key, value in (("feed_forward_length", hidden), ("expert_count", experts), ("expert_used_count", 2)):
        gguf.metadata[f"llama.{key}"] = "u32", value
    dense = {name: gguf.tensors.pop(f"blk.0.ffn_{name}.weight") for name in ("gate", "up", "down")}
    gguf.tensors["blk.0.ffn_gate_inp.weight"] = Tensor(np.zeros((experts, width), np.float32))
    end = sum(-(-tensor.data.nbytes // 32) * 32 for tensor in gguf.tensors.values())
    for name in dense:
        dims = (hidden, width, experts) if name == "down" else (width, hidden, experts)
        gguf.tensors[f"blk.0.ffn_{name}_exps.weight"] = Tensor(np.zeros(0, np.float32), dims=dims, offset=end)
        end += 4 * width * hidden * experts
    path.write_bytes(gguf.build())
    os.truncate(path, path.stat().st_size + end)
    done = run("chat", str(path), "hi", cache=tmp_path)
    assert refused(done, str(path), "needs 384.", "GiB", "are free; no context fits", code=4)
    assert done.took_s < 5


def test_a_worker_cannot_take_much_more_than_was_planned() -> None:
    before = children()
    with Worker(EngineOptions(str(DEMO), context=512, threads=1)) as worker:
        [pid] = children() - before
        soft, _ = resource.prlimit(pid, resource.RLIMIT_AS)
        taken = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        assert taken < soft <= taken + worker.loaded.memory["host"] // 4 + SLACK + 64 * 2**20
        assert list(worker.generate(Request(prompt="1 2", max_tokens=3)))


@pytest.mark.parametrize("memory, grows", [({"host": 4 * GIB}, False), ({"host": 4 * GIB, "CUDA0": GIB}, True)])
def test_growth_is_limited_on_the_cpu_only(memory: dict[str, int], grows: bool) -> None:
    """Address space, never touched: a quarter of the plan and the slack are left, not more."""
    script = (f"import mmap; from ledlocal.worker.server import SLACK, limit_growth; limit_growth({memory})\n"
              "kept = mmap.mmap(-1, SLACK + 2**29)\nprint('planned')\nmmap.mmap(-1, 2**30)\nprint('more')")
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["planned", *(["more"] if grows else [])], done.stderr


@pytest.mark.parametrize("descriptors", [32, 12, 9, 7, 5])
def test_few_descriptors(descriptors: int, tmp_path: Path) -> None:
    done = limited("NOFILE", descriptors, cache=tmp_path)
    one_line(done, 3, 4)
    assert done.code == 0 or (descriptors < 32 and "Too many open files" in done.err)


def few_threads(stack: int, cache: Path) -> Done:
    """Threads take a stack of this size each; address space is for 10 GiB."""
    return run(*ASK, cache=cache, limits=f"resource.setrlimit(resource.RLIMIT_STACK, ({stack}, {stack}))\n"
                                         f"resource.setrlimit(resource.RLIMIT_AS, ({10 * GIB}, {10 * GIB}))")


@pytest.mark.parametrize("stack", [8 * GIB, 16 * GIB])
def test_few_threads(stack: int, tmp_path: Path) -> None:
    one_line(few_threads(stack, tmp_path), 3, 4)


@pytest.mark.parametrize("mib", [60, 80, 100, 150, 200])
def test_little_memory(mib: int, tmp_path: Path) -> None:
    one_line(limited("AS", mib << 20, cache=tmp_path), 3, 4)


LOAD = """
import llama_cpp, resource
import ledlocal.runtime.install, ledlocal.values.errors as errors
pages = int(open('/proc/self/statm').read().split()[0])
limit = pages * resource.getpagesize() + (1 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    import ledlocal.runtime.library
except errors.OutOfResources as error:
    print(error)
"""


def test_no_memory_for_the_library_is_no_damage_to_it(tmp_path: Path) -> None:
    for path in stock_folder().glob("libllama.*"):  # its megabytes are mapped first, whatever the name
        shutil.copy(path, tmp_path / path.name.replace("llama", "ggml"))
    done = subprocess.run([sys.executable, "-P", "-c", LOAD], capture_output=True, text=True, check=False,
                          env={**os.environ, "LEDLOCAL_LIBRARY": str(tmp_path)})
    assert done.stdout.startswith(f"not enough memory to load llama.cpp's library in {tmp_path}: "), done.stderr


RENDER = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
from ledlocal.runtime.template import ChatTemplate, Job, render_one
print(render_one(ChatTemplate("{{ messages[0].content }}", "m.gguf"), Job([{"content": "Hello."}])))
"""


def test_a_template_renders_under_a_limit_lower_than_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", RENDER], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Hello.\n"), done.stderr


SHORT = """
import resource
import shutil
from pathlib import Path
from ledlocal.models import DEMO
from ledlocal.runtime.install import stock_folder
from ledlocal.values.errors import EngineDied, OutOfResources
from ledlocal.values.params import EngineOptions, Request
from ledlocal.worker.client import Worker

with Worker(EngineOptions(str(DEMO), threads=1)) as worker:
    tasks = Path("/proc/self/task").iterdir()
    [pid] = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    resource.prlimit(pid, resource.RLIMIT_AS, (2**20, 2**20))
    try:
        list(worker.generate(Request(prompt="1 " * 4_000_000)))
    except (EngineDied, OutOfResources) as error:
        print(error.exit_code, error)
with Worker(EngineOptions(str(DEMO), threads=1)) as worker:
    print(len(list(worker.generate(Request(prompt="1 ", max_tokens=3, ignore_eos=True)))))
"""


def test_memory_that_ends_while_generating_is_one_line_and_a_new_engine_works() -> None:
    done = subprocess.run([sys.executable, "-c", SHORT], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    said, counted = done.stdout.splitlines()
    died = ("3 engine died (exit code 70) while generating with ", "3 engine died (SIG", "4 ")
    assert said.startswith(died), said
    assert counted == "5"


def test_a_full_disk_under_the_answer(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "m.gguf", "qwen3")
    with Path("/dev/full").open("wb") as full, start(
            "chat", str(model), "hi", "-n", "40", "-t", "1", "--reasoning-budget", "1", stdout=full.fileno(),
            cache=tmp_path) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert err.decode().splitlines()[-1] == "ledlocal: cannot write the output: No space left on device"
    assert b"Traceback" not in err


def test_an_answer_that_nobody_can_get_is_no_success(tmp_path: Path) -> None:
    script = f"{sys.executable} -P -m ledlocal chat demo hi -n 60 -t 1 >&-"
    done = subprocess.run(["/bin/sh", "-c", script], stderr=subprocess.PIPE, text=True, check=False,
                          env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)})
    assert done.returncode == 4
    assert done.stderr.endswith("ledlocal: cannot write the output: standard output is closed\n")


def test_a_full_disk_under_the_json(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full, start(*ASK, "--json", stdout=full.fileno(), cache=tmp_path) as process:
        _, err = process.communicate(timeout=60)
    assert (process.returncode, len(err.splitlines())) == (4, 1)


@pytest.mark.parametrize("room", [0, 100, 1000])
def test_a_full_disk_under_the_trace(room: int, tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    done = limited("FSIZE", room, *ASK, "--trace", str(trace), cache=tmp_path)
    assert done.code == 4 and str(trace) in done.said[-1] and "Traceback" not in done.err
    for line in trace.read_text().splitlines(keepends=True) if trace.exists() else ():
        assert json.loads(line) and line.endswith("\n")


def test_a_trace_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(*ASK, "--trace", str(tmp_path / "file" / "t"), cache=tmp_path)
    assert refused(done, str(tmp_path / "file" / "t"), "Not a directory")


# ---- nothing grows ----

HELD = """
import os, re, sys
from pathlib import Path
def held(pid="self"):
    "Resident KiB, descriptors and threads of a process."
    status = Path(f"/proc/{pid}/status").read_text()
    resident, threads = (int(re.search(f"{name}:\\\\s*(\\\\d+)", status)[1]) for name in ("VmRSS", "Threads"))
    return resident, len(os.listdir(f"/proc/{pid}/fd")), threads
"""

CYCLES = HELD + """
from ledlocal.engine.engine import Engine
from ledlocal.models import DEMO
from ledlocal.runtime.install import stock_folder
from ledlocal.values.params import EngineOptions, Message, Request
for i in range(500):
    with Engine(EngineOptions(str(DEMO), context=256, threads=1)) as engine:
        list(engine.generate(Request(messages=(Message("user", "hi"),), max_tokens=2, seed=i)))
    print(*held(), flush=True)
"""


def flat(lines: list[list[int]]) -> None:
    """From the first quarter to the last: as many descriptors and threads, and 2 % or 2 MiB more memory at most."""
    quarter = len(lines) // 4
    early, late = lines[quarter // 2:quarter], lines[-quarter:]
    assert {tuple(line[1:]) for line in early} == {tuple(line[1:]) for line in late}
    before, after = max(line[0] for line in early), max(line[0] for line in late)
    assert after <= max(1.02 * before, before + 2048), (before, after)


@pytest.mark.slow
def test_500_engines_one_after_another_leave_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", CYCLES], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    lines = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert len(lines) == 500
    flat(lines)


HOUR = HELD + """
from ledlocal.chat import Chat
from ledlocal.settings import Settings
from ledlocal.terminal import Console
from ledlocal.values.errors import BadInput
from ledlocal.values.params import EngineOptions
from ledlocal.worker.client import Worker
report, sys.stdout, sys.stderr = sys.stdout, open(os.devnull, "w"), open(os.devnull, "w")
settings = Settings(seed=1, max_tokens=600).with_value("d", "4")
chat = Chat(lambda _model: Worker(EngineOptions(sys.argv[1], threads=1)), settings, Console())
tasks = Path("/proc/self/task").iterdir()
[worker] = [int(child) for task in tasks for child in (task / "children").read_text().split()]
tokens = turns = 0
while tokens < 144_000:  # an hour at 40 tokens per second
    try:
        tokens, turns = tokens + len(chat.answer(chat.new("go on")).finished.ids), turns + 1
    except BadInput:  # the conversation has become longer than the context of 2,048 tokens
        chat._do("/clear")
    print(tokens, *held(), *held(worker), file=report, flush=True)
chat.close()
"""


@pytest.mark.slow
def test_an_hour_of_chat_needs_no_more_memory_than_its_beginning(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "m.gguf", "qwen3")
    done = subprocess.run([sys.executable, "-c", HOUR, str(model)], capture_output=True, text=True, check=False,
                          timeout=1200)
    assert done.returncode == 0, done.stderr
    lines = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert lines[-1][0] >= 144_000
    flat([line[1:4] for line in lines])
    flat([line[4:] for line in lines])
