"""The header scanner: against gguf-py, against libggml's own type table, and against spoiled files."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import bad_ggufs
import numpy as np
import pytest
from bad_ggufs import STRUCTURE, Case, Gguf, entry, good, put, text
from gguf import GGUFReader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledlocal.runtime import scanner
from ledlocal.runtime.ggml_types import GGML_TYPES
from ledlocal.runtime.header import Header, read_header
from ledlocal.runtime.preflight import check_model
from ledlocal.runtime.scanner import StringArray
from ledlocal.values.errors import BadInput


def written(folder: Path, gguf: Gguf) -> Header:
    path = folder / "model.gguf"
    path.write_bytes(gguf.build())
    return read_header(path)


def test_agrees_with_gguf_py(tmp_path: Path) -> None:
    gguf = good()
    gguf.tensors["blk.0.attn_q.weight"].data = np.zeros((32, 32), "f2")
    gguf.tensors["blk.0.attn_q.weight"].type = 1
    put("[u64]", [1, 2**63], "x.u64s")(gguf)
    put("i16", -5, "x.i16")(gguf)
    put("bool", True, "x.bool")(gguf)
    ours, theirs = written(tmp_path, gguf), GGUFReader(tmp_path / "model.gguf")
    assert [(t.name, t.dims, t.type, t.offset, t.nbytes) for t in ours.tensors.values()] == [
        (t.name, tuple(t.shape.tolist()), t.tensor_type.name, t.data_offset, t.n_bytes) for t in theirs.tensors]
    assert ours.data_offset == theirs.data_offset
    assert list(ours.metadata) == [key for key in theirs.fields if not key.startswith("GGUF.")]
    for key, value in ours.metadata.items():
        plain = list(value) if isinstance(value, StringArray) else np.asarray(value).tolist()
        assert plain == theirs.fields[key].contents(), key
    assert (ours.version, ours.alignment, ours.size) == (3, 32, (tmp_path / "model.gguf").stat().st_size)
    assert ours.kinds["x.u64s"] == "[u64]" and ours.kinds["x.i16"] == "i16" and ours.metadata["x.bool"] is True


def test_type_table_is_the_library_s() -> None:
    import llama_cpp

    ggml = ctypes.CDLL(str(min((Path(llama_cpp.__file__).parent / "lib").glob("libggml-base.*"))))
    ggml.ggml_blck_size.restype = ctypes.c_int64
    ggml.ggml_type_size.restype = ctypes.c_size_t
    ggml.ggml_type_name.restype = ctypes.c_char_p
    known = {i: (ggml.ggml_type_name(i).decode().upper(), ggml.ggml_blck_size(i),
                 ggml.ggml_type_size(i)) for i in range(43) if ggml.ggml_blck_size(i)}
    assert known == dict(GGML_TYPES)


@pytest.mark.parametrize("case", STRUCTURE, ids=lambda case: case.name)
def test_refuses(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(case.build())
    with pytest.raises(BadInput) as refusal:
        check_model(read_header(path))
    message = str(refusal.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert all(word in message for word in case.words), message


def _directory(path: Path) -> None:
    path.mkdir()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(os.path.relpath(path))


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize(("make", "words"), [
    (_directory, "not a regular file"), (_fifo, "not a regular file"), (_socket, "not a regular file"),
    (_dangling, "No such file"), (lambda path: None, "No such file"),
    (lambda path: path.symlink_to("/dev/zero"), "not a regular file")])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_refuses_what_is_not_a_file(make: Callable[[Path], None], words: str, tmp_path: Path,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.gguf"
    make(path)
    with pytest.raises(BadInput, match=words) as refusal:
        read_header(path)
    assert str(path) in str(refusal.value)


def test_refuses_a_path_with_nul() -> None:
    with pytest.raises(BadInput, match="null"):
        read_header(Path("a\0b.gguf"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_refuses_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(good().build())
    path.chmod(0)
    with pytest.raises(BadInput, match="denied"):
        read_header(path)


def test_keeps_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    gguf = good()
    put("str", b"caf\xe9", "general.name")(gguf)
    put("str", "x", "general.author")(gguf)
    gguf.metadata["tokenizer.ggml.tokens"][1][300] = b"\xff\xfe"
    ours = written(tmp_path, gguf)
    assert ours.metadata["general.name"] == "caf\\xe9"
    assert ours.metadata["general.author"] == "x"
    assert len(ours.not_utf8) == 1 and "general.name" in ours.not_utf8[0]
    tokens = ours.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, StringArray)
    assert tokens.raw(300) == b"\xff\xfe" and tokens[300] == "\\xff\\xfe"


def test_string_array(tmp_path: Path) -> None:
    gguf = good()
    put("[str]", ["", "é", "a" * 300_000], "x.strings")(gguf)
    strings = written(tmp_path, gguf).metadata["x.strings"]
    assert isinstance(strings, StringArray)
    assert list(strings) == ["", "é", "a" * 300_000] and len(strings) == 3
    assert list(strings.raws()) == [b"", "é".encode(), b"a" * 300_000] and strings[1] == "é"


def test_reads_version_2(tmp_path: Path) -> None:
    gguf = good()
    gguf.version = 2
    assert written(tmp_path, gguf).version == 2


def test_scalars_may_have_no_dimensions(tmp_path: Path) -> None:
    gguf = good()
    gguf.tensors["x.scale"] = bad_ggufs.Tensor(np.ones(1, np.float32), dims=())
    assert written(tmp_path, gguf).tensors["x.scale"].nbytes == 4


def test_names_the_parts_of_a_split_model(tmp_path: Path) -> None:
    gguf = good()
    put("u16", 3, "split.count")(gguf)
    path = tmp_path / "m-00002-of-00003.gguf"
    path.write_bytes(gguf.build())
    assert [p.name for p in read_header(path).splits] == [f"m-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    assert written(tmp_path, gguf).splits == (tmp_path / "model.gguf",)


def test_a_sparse_giant_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for value, words in ((struct.pack("<IIQ", 9, 8, 1 << 26), "no real model"), (
            struct.pack("<IIQ", 9, 0, 1 << 26), "64 MiB"), (struct.pack("<IQ", 8, 1 << 26), "no real model")):
        array = text("x") + value
        with path.open("wb") as file:
            file.write(b"GGUF" + struct.pack("<Iqq", 3, 0, 2) + entry("general.alignment", "u32", 32) + array)
            file.truncate(1 << 36)
        with pytest.raises(BadInput, match=words):
            read_header(path)


def test_a_header_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gguf = good()
    put("[str]", ["a" * 100_000] * 10, "x.strings")(gguf)
    assert len(written(tmp_path, gguf).metadata) == len(gguf.metadata)
    monkeypatch.setattr(scanner, "HEADER_LIMIT", 500_000)
    with pytest.raises(BadInput, match="no real header is that long"):
        written(tmp_path, gguf)


def test_every_vendored_vocabulary(sdist: Path) -> None:
    files = sorted((sdist / "vendor/llama.cpp/models").glob("ggml-vocab-*.gguf"))
    assert len(files) > 15
    for path in files:
        ours = read_header(path)
        tokens = ours.metadata["tokenizer.ggml.tokens"]
        assert isinstance(tokens, StringArray) and len(tokens) > 30_000 and len(set(tokens.raws())) == len(tokens)
        assert ours.architecture and not ours.tensors and not ours.not_utf8


LARGE = """
import re, sys, time
from pathlib import Path
from ledlocal.runtime.header import read_header
from ledlocal.runtime.preflight import check_model
from ledlocal.values.errors import BadInput
start = time.perf_counter()
try:
    print(len(read_header(Path(sys.argv[1])).metadata["tokenizer.ggml.merges"]), time.perf_counter() - start)
    check_model(read_header(Path(sys.argv[1])))
except BadInput as error:
    print(error)
status = Path("/proc/self/status")  # ru_maxrss would begin at the peak of the process that spawned this one
if status.exists():
    peak = int(re.search("VmHWM:\\s*(\\d+)", status.read_text())[1]) * 1024
    assert peak < 200e6, peak
assert time.perf_counter() - start < 20
assert "llama_cpp" not in sys.modules and "gguf" not in sys.modules
"""


@pytest.mark.parametrize("twins", [False, True])
def test_a_large_vocabulary_is_cheap(twins: bool, tmp_path: Path) -> None:
    gguf, n = good(), 262_144
    names = [f"token number {i}" for i in range(n)]
    if twins:
        names[-1] = names[7]
    put("str", "gpt2", "tokenizer.ggml.model")(gguf)
    put("[str]", names, "tokenizer.ggml.tokens")(gguf)
    put("[str]", [f"left{i} right{i}" for i in range(2 * n)], "tokenizer.ggml.merges")(gguf)
    put("[f32]", [0.0] * n, "tokenizer.ggml.scores")(gguf)
    put("[i32]", [1] * n, "tokenizer.ggml.token_type")(gguf)
    (tmp_path / "model.gguf").write_bytes(gguf.build())
    done = subprocess.run([sys.executable, "-c", LARGE, str(tmp_path / "model.gguf")], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{2 * n} ")
    assert ("'token number 7' twice, as ids 7 and 262143" in done.stdout) == twins


GOOD = good().build()
HEADER_BYTES = GOOD.index(b"blk.0.ffn_down.weight") + 100


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, HEADER_BYTES), st.integers(0, 255)), max_size=6),
       length=st.one_of(st.just(len(GOOD)), st.integers(0, len(GOOD))))
def test_only_bad_input_ever_comes_out(changes: list[tuple[int, int]], length: int, tmp_path: Path) -> None:
    spoiled = bytearray(GOOD)
    for at, value in changes:
        spoiled[at] = value
    path = tmp_path / "model.gguf"
    path.write_bytes(spoiled[:length])
    try:
        check_model(read_header(path))
    except BadInput as refusal:
        assert str(refusal).startswith(f"{path}")
        assert "\n" not in str(refusal)
    else:
        assert length == len(GOOD)
