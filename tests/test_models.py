"""What a model's name means, and the cache of file hashes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ledlocal.digest import sha256_of
from ledlocal.models import resolve
from ledlocal.values.errors import BadInput


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ledlocal" / "sha256"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that a file was hashed."""
    seen: list[int] = []
    original = hashlib.file_digest

    def counted(file, name):  # type: ignore[no-untyped-def]
        seen.append(1)
        return original(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return seen


@pytest.mark.parametrize("name", [None, "demo"])
def test_the_embedded_model(name: str | None) -> None:
    assert resolve(name).path.read_bytes()[:4] == b"GGUF"


def test_a_path_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "demo").write_bytes(b"mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("./demo", "~/demo", str(tmp_path / "demo")):
        assert resolve(name).path.read_bytes() == b"mine"


def test_a_link_to_a_file_is_taken(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"x")
    (tmp_path / "link").symlink_to("m")
    assert resolve(str(tmp_path / "link")).path == tmp_path / "link"


@pytest.mark.parametrize(("name", "text"), [
    ("no-such.gguf", "^no-such.gguf: no such file; a model is a GGUF file, demo, user/repo"),
    ("Use 2 and 3.", "^Use 2 and 3.: no such file; to ask the demo model: ledlocal chat demo PROMPT$"),
    ("Qwen/Qwen3-8B", "^Qwen/Qwen3-8B: neither a file nor in the hub's cache, and the network is not asked"),
    ("Qwen/Qwen3-8B.gguf", "^Qwen/Qwen3-8B.gguf: no such file; a model"),
    ("a/b/c.gguf", "^a/b/c.gguf: no such file; a model"),
    ("folder", "^folder: a folder, not a GGUF file$"),
    ("", r"^\.: a folder"),
    ("fifo", "^fifo: not a regular file"),
    ("/dev/null", "^/dev/null: not a regular file"),
    ("file/inside.gguf", "^'file/inside.gguf': Not a directory$"),
    ("loop", "^'loop': Too many levels"),
    ("nul\0byte", r"^'nul\\x00byte': embedded null byte$"),
    ("~no-such-user/x", "^'~no-such-user/x': "),
    ("x" * 5000, "File name too long$"),
])
def test_what_is_no_file_is_refused_in_one_line(
        name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=text) as caught:
        resolve(name, offline=True)
    assert "\n" not in str(caught.value)


def test_a_folder_with_one_model_is_that_model(tmp_path: Path) -> None:
    for name in ("Thinker-Q8_0.gguf", "mmproj-F16.gguf", "README.md"):
        (tmp_path / name).write_bytes(b"x")
    assert resolve(str(tmp_path)).path == tmp_path / "Thinker-Q8_0.gguf"
    (tmp_path / "Other-Q8_0.gguf").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"a folder, not a GGUF file; it holds Other-Q8_0.gguf, Thinker-Q8_0.gguf$"):
        resolve(str(tmp_path))


def test_any_part_of_a_split_model_means_its_first(tmp_path: Path) -> None:
    first, second = (tmp_path / f"m-Q8_0-0000{i}-of-00002.gguf" for i in (1, 2))
    second.write_bytes(b"22")
    with pytest.raises(BadInput, match=r"m-Q8_0-00001-of-00002.gguf: the first part is missing"):
        resolve(str(second))
    first.write_bytes(b"1")
    for name in (first, second, tmp_path):
        location = resolve(str(name))
        assert (location.path, location.size) == (first, 3)


def test_aliases_stand_for_any_name(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"x")
    aliases = {"mine": str(tmp_path / "m.gguf"), "small": "demo", "twice": "mine"}
    assert resolve("mine", aliases=aliases).path == tmp_path / "m.gguf"
    assert resolve("small", aliases=aliases) == resolve(None)
    with pytest.raises(BadInput, match=r"models.twice stands for 'mine', which is an alias itself"):
        resolve("twice", aliases=aliases)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_must_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "m").touch(0o000)
    with pytest.raises(BadInput, match="no permission"):
        resolve(str(tmp_path / "m"))


def test_the_hash_is_right_and_computed_once(tmp_path: Path, cache: Path, reads: list[int]) -> None:
    file = tmp_path / "m"
    file.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "link").symlink_to(file)
    assert [sha256_of(file), sha256_of(file), sha256_of(tmp_path / "link")] == [right] * 3
    assert len(reads) == 1


@pytest.mark.parametrize("change", ["size", "mtime", "inode"])
def test_a_changed_file_is_hashed_again(tmp_path: Path, cache: Path, change: str) -> None:
    file = tmp_path / "m"
    file.write_bytes(b"one")
    old = file.stat()
    sha256_of(file)
    if change == "inode":
        (tmp_path / "other").write_bytes(b"two")
        (tmp_path / "other").replace(file)
    else:
        file.write_bytes(b"three" if change == "size" else b"two")
    os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns + (change == "mtime")))
    assert sha256_of(file) == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"z" * 64, b"a" * 63, b"a" * 64 + b"\n"])
def test_a_damaged_entry_is_ignored_and_written_again(tmp_path: Path, cache: Path, damage: bytes) -> None:
    file = tmp_path / "m"
    file.write_bytes(b"abc")
    right = sha256_of(file)
    [entry] = cache.iterdir()
    entry.write_bytes(damage)
    assert sha256_of(file) == right
    assert [(e, e.read_text()) for e in cache.iterdir()] == [(entry, right)]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, cache: Path) -> None:
    cache.parents[1].write_text("a file where the folder would be")
    file = tmp_path / "m"
    file.write_bytes(b"abc")
    assert sha256_of(file) == sha256_of(file) == hashlib.sha256(b"abc").hexdigest()


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
        tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "m"
    file.write_bytes(b"abc")
    original = hashlib.file_digest

    def slow(opened, name):  # type: ignore[no-untyped-def]
        digest = original(opened, name)
        file.write_bytes(b"abcd")
        return digest

    monkeypatch.setattr(hashlib, "file_digest", slow)
    sha256_of(file)
    assert not cache.exists()
