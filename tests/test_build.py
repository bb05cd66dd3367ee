"""The patch and `ledlocal build`: what it makes is proven in the tap tests; here, what it refuses and leaves alone."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ledlocal import native
from ledlocal.native import UNITY, _base, _why
from ledlocal.runtime.install import (
    OVERRIDE,
    PATCH,
    chosen_folder,
    cut_short,
    native_folder,
    patch_text,
    stock_folder,
)
from ledlocal.values.errors import BadInput, OutOfResources

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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_build_that_is_ended_takes_its_compilers_along(number: int, code: int, cache: Path, tmp_path: Path) -> None:
    compiler, folder = tmp_path / "c++", tmp_path / "tmp"
    compiler.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\nsleep 600 &\necho $! >> {tmp_path}/pids\nwait\n")
    compiler.chmod(0o755)
    folder.mkdir()
    environ = {**os.environ, "XDG_CACHE_HOME": str(cache), "TMPDIR": str(folder), "CXX": str(compiler)}
    child = subprocess.Popen([sys.executable, "-m", "ledlocal", "build"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=environ)
    pids = tmp_path / "pids"
    wait_for(lambda: pids.exists() and len(pids.read_text().splitlines()) >= 2, 60)
    assert [path.name[:15] for path in folder.iterdir()] == ["ledlocal-build-"]
    child.send_signal(number)
    out, err = child.communicate(timeout=20)
    assert (child.returncode, out) == (code, b"") and b"Traceback" not in err, err
    assert not list(folder.iterdir())
    wait_for(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()), 5)


def wait_for(happened: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not asked for its status does not."""
    try:
        return not re.search(r"\) [ZX] ", Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return False


def test_the_line_that_says_why() -> None:
    """A compiler shows the source that it warns about."""
    warned = 'a.cpp:7:5: warning: no return\n    7 |  GGML_ABORT("fatal error"); // Error: x\n'
    for said in ("b.cpp:3:1: error: 'x' was not declared", "b.cpp:1:10: fatal error: y.h: No such file or directory",
                 "c++: fatal error: Killed signal terminated program cc1plus", "k.cu(3): error: no",
                 "/usr/bin/ld: cannot find -lggml", "CMake Error at CMakeLists.txt:3 (find_package):"):
        assert _why(f"{warned}  {said}\ncollect2: error: ld returned 1 exit status\n") == said
    assert _why(f"{warned}the end\n") == "the end"


@pytest.mark.parametrize("fails", [True, False])
def test_what_was_not_downloaded_whole_is_not_kept(fails: bool, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(_what: str, *command: str) -> None:
        (Path(command[command.index("--dest") + 1]) / "source.tar.gz").write_bytes(b"half")
        if fails:
            raise OutOfResources("full")

    monkeypatch.setattr(native, "_run", torn)
    with pytest.raises(OutOfResources if fails else BadInput):
        native._download(tmp_path / "sdist" / "source.tar.gz", "0" * 64)
    assert list((tmp_path / "sdist").iterdir()) == []


def test_a_full_disk_under_a_program_is_no_failure_of_it() -> None:
    with pytest.raises(OutOfResources, match=r"could not copy: OSError: .* No space left on device"):
        native._run("copy", sys.executable, "-c", "raise OSError(28, 'No space left on device')")


def test_a_full_disk_at_the_end_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "libllama.so").write_bytes(b"x" * 10_000)
    script = ("import resource, sys; from pathlib import Path; from ledlocal.native import _install\n"
              "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
              "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
              f"root = Path({str(tmp_path)!r})\n"
              "try: _install(root / 'made', root / 'target')\n"
              "except OSError as error: print(error.filename, error.strerror)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}/made/libllama.so File too large\n"
    assert {path.name for path in tmp_path.iterdir()} == {"made"}


def test_another_archive_is_refused(cache: Path) -> None:
    [archive] = (cache / "ledlocal" / "sdist").iterdir()
    archive.unlink()
    archive.write_bytes(b"something else")
    done = build(cache)
    assert done.returncode == 2 and f"{archive}: its SHA-256 is" in done.stderr


def test_a_library_that_is_cut_short_is_named_with_what_mends_it(tmp_path: Path) -> None:
    """Loading it would end the process with SIGBUS."""
    [whole] = [path for path in stock_folder().glob("libllama*") if path.name in ("libllama.so", "libllama.dylib")]
    assert not cut_short(whole)
    folder = tmp_path / "ledlocal" / "native" / native_folder().name
    folder.mkdir(parents=True)
    environ = {name: value for name, value in os.environ.items() if name != OVERRIDE}
    for size in (30, 100_000):
        (folder / whole.name).write_bytes(whole.read_bytes()[:size])
        done = subprocess.run([sys.executable, "-m", "ledlocal", "doctor"], capture_output=True, text=True, check=False,
                              env={**environ, "XDG_DATA_HOME": str(tmp_path)})
        first, second, *_ = done.stdout.splitlines()
        assert done.returncode == 1 and done.stdout.count("does not load") == 1
        assert f"{folder} does not load: {whole.name} is cut short; `ledlocal build` makes it anew" in first
        assert second.strip() == "ledlocal build"


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
