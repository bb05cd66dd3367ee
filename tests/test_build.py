"""The patch and `ledlocal build`: what it makes is proven in the tap tests; here, what it refuses and leaves alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ledlocal.native import UNITY, _base
from ledlocal.runtime.install import PATCH, chosen_folder, native_folder, patch_text, stock_folder

ROOT = Path(__file__).parents[1]


def build(cache: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The real command with a cache of its own."""
    return subprocess.run([sys.executable, "-m", "ledlocal", "build", *args], capture_output=True, text=True,
                          check=False, stdin=subprocess.DEVNULL,
                          env={**os.environ, "XDG_CACHE_HOME": str(cache), **environ})


@pytest.fixture
def cache(sdist: Path, tmp_path: Path) -> Path:
    """A cache that holds the source distribution."""
    folder = tmp_path / "cache" / "ledlocal" / "sdist"
    folder.mkdir(parents=True)
    (folder / f"{sdist.name}.tar.gz").symlink_to(sdist.with_name(f"{sdist.name}.tar.gz"))
    return tmp_path / "cache"


def test_the_patch_applies_to_its_base(sdist: Path, tmp_path: Path) -> None:
    tree = tmp_path / "llama.cpp"
    shutil.copytree(sdist / "vendor" / "llama.cpp" / "src", tree / "src")
    shutil.copytree(sdist / "vendor" / "llama.cpp" / "include", tree / "include")
    done = subprocess.run(["patch", "-p1", "--fuzz=0", "-d", str(tree), "-i", str(ROOT / "patches" / PATCH)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "offset" not in done.stdout and "fuzz" not in done.stdout


def test_the_patch_is_small_and_plain() -> None:
    text = patch_text()
    assert text.isascii() and text == (ROOT / "patches" / PATCH).read_text()
    new, added, removed = set(), 0, 0
    for part in text.split("diff --git ")[1:]:
        name = re.search(r"\+\+\+ b/(\S+)", part)
        assert name
        if "new file mode" in part:
            new.add(name[1])
        else:
            added += len(re.findall(r"(?m)^\+(?!\+\+ )", part))
            removed += len(re.findall(r"(?m)^-(?!-- |-$)", part))
    assert new == {"include/llama-tap.h", "src/llama-tap.h", "src/llama-tap.cpp"}
    assert 0 < added <= 80 and removed <= 1, (added, removed)
    readme = (ROOT / "patches" / "README.md").read_text()
    assert f"upstream files change by {added} lines" in readme
    assert _base()["llama.cpp"] and len(_base()["sha256"]) == 64 and UNITY > 1


@pytest.mark.parametrize(("args", "environ", "code", "said"), [
    ((), {"PATH": "/nowhere"}, 2, "the program patch is missing"),
    ((), {"CXX": "false"}, 1, "could not compile "),
    ((), {"CXX": "no-such-compiler"}, 4, "no-such-compiler"),
    (("-DGGML_CUDA=ON",), {}, 2, "needs --full"),
    (("--full", "-j8"), {}, 2, "is no cmake option"),
])
def test_a_build_that_fails_is_one_line_and_changes_nothing(
        args: tuple[str, ...], environ: dict[str, str], code: int, said: str, cache: Path) -> None:
    done = build(cache, *args, **environ)
    told = [line for line in done.stderr.splitlines() if line.startswith("ledlocal: ")]
    assert done.returncode == code and len(told) == 1 and said in told[0], done
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert not native_folder().exists() and not list(native_folder().parent.glob("*"))


def test_another_archive_is_refused(cache: Path) -> None:
    [archive] = (cache / "ledlocal" / "sdist").iterdir()
    archive.unlink()
    archive.write_bytes(b"something else")
    done = build(cache)
    assert done.returncode == 2 and f"{archive}: its SHA-256 is" in done.stderr


def test_which_library_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Patched if it was built, unless told otherwise."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("LEDLOCAL_LIBRARY")
    assert chosen_folder() == stock_folder()
    native_folder().mkdir(parents=True)
    assert chosen_folder() == stock_folder()
    (native_folder() / "libllama.so").touch()
    assert chosen_folder() == native_folder()
    monkeypatch.setenv("LEDLOCAL_LIBRARY", "stock")
    assert chosen_folder() == stock_folder()
    monkeypatch.setenv("LEDLOCAL_LIBRARY", "/elsewhere")
    assert chosen_folder() == Path("/elsewhere")
