"""Names that are no plain words, as a model's path and inside a model, through the real command."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from bad_ggufs import good, put
from real_command import refused, run
from tiny_models import tiny_model

from ledlocal.models import DEMO
from ledlocal.runtime.header import read_header

ASK = ("hi", "-n", "4", "-t", "1", "--json")


@pytest.mark.parametrize("name", [b"a\xff\xfe.gguf", b"a\nb.gguf", b"a\x1b[2J.gguf", b"[bold]x[.gguf",
                                  "ü 東.gguf".encode(), b"a b'c\"d$e`f.gguf", b"-dash.gguf"])
def test_any_name_of_a_file(name: bytes, tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/" + name))
    path.write_bytes(DEMO.read_bytes())
    done = run("chat", bytes(path), *ASK, cache=tmp_path)
    assert done.code == 0, done
    assert json.loads(done.out)["finish"] == "length"
    shown = run("models", "info", bytes(path), cache=tmp_path)
    assert shown.code == 0 and "\x1b" not in shown.err
    path.write_bytes(b"GGUF")
    assert refused(run("chat", bytes(path), *ASK, cache=tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_what_never_ends_or_never_begins(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    os.mknod(tmp_path / "zero", 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    for name in ("fifo", "zero"):
        for args in (("chat", str(tmp_path / name), "hi"), ("trace", str(tmp_path / name)),
                     ("chat", "demo", "hi", "--load", str(tmp_path / name)),
                     ("chat", "demo", "-f", str(tmp_path / name))):
            done = run(*args, cache=tmp_path)
            assert refused(done, str(tmp_path / name)) and done.took_s < 5


def test_a_hash_that_is_not_the_models(tmp_path: Path) -> None:
    right = hashlib.sha256(DEMO.read_bytes()).hexdigest()
    assert run("chat", "demo", *ASK, "--sha256", right[:12], cache=tmp_path).code == 0
    assert refused(run("chat", "demo", *ASK, "--sha256", "f" * 64, cache=tmp_path), "its SHA-256 is", right)
    assert refused(run("chat", "demo", *ASK, "--sha256", "xyz", cache=tmp_path), "--sha256")


@pytest.mark.parametrize("size", [1023, 1024, 1025, 8192])
def test_templates_of_any_length_are_whole(size: int, tmp_path: Path) -> None:
    """Also where llama-cpp-python's buffers would cut them."""
    text = "{% for m in messages %}{{ m['content'] }}{% endfor %}END"
    gguf = good()
    put("str", "{#" + "x" * (size - len(text) - 4) + "#}" + text, "tokenizer.chat_template")(gguf)
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf.build())
    assert len(str(read_header(path).metadata["tokenizer.chat_template"])) == size
    done = run("chat", str(path), *ASK, cache=tmp_path)
    assert done.code == 0 and json.loads(done.out)["tokens"]["prompt"] > 4  # h, i, E, N, D


def test_a_broken_template_that_nobody_uses_is_a_note(tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "m.gguf", "qwen3")
    gguf = good()
    put("str", "{% for m in", "tokenizer.chat_template.tool_use")(gguf)
    path.write_bytes(gguf.build())
    done = run("chat", str(path), *ASK, cache=tmp_path)
    assert done.code == 0 and "tokenizer.chat_template.tool_use" in done.err and "it is not used" in done.err


def test_an_assert_of_the_library_starts_no_debugger() -> None:
    """llama.cpp would start gdb and print to the terminal; the worker's environment forbids it."""
    script = ("from ledlocal.worker.process import prepare_process; prepare_process(); "
              "from ledlocal.runtime.library import C; C._lib.ggml_abort(b'here.c', 1, b'on purpose')")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == -6 and "here.c:1: on purpose" in done.stderr
    assert "ptrace" not in done.stderr and "#0 " not in done.stderr
