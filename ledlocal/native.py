"""The patched libllama, built from the pinned source distribution: what `ledlocal build` does.

Only libllama is compiled; it is linked against the ggml libraries of the installed llama-cpp-python, so that what they
compute on (CUDA, Metal, Vulkan) stays as it is. `full` compiles those anew, too, as pip would.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from platformdirs import user_cache_path

from ledlocal.runtime.install import OVERRIDE, PINNED, native_folder, patch_text, stock_folder
from ledlocal.values.errors import BadInput, LedlocalError, OutOfResources

UNITY = 16
"""Files of src/models compiled as one, as upstream does (src/CMakeLists.txt)."""
OPTIONS = ("-std=c++17", "-O3", "-fPIC", "-DNDEBUG", "-DLLAMA_BUILD", "-DLLAMA_SHARED", "-DGGML_SHARED",
           "-DGGML_BACKEND_SHARED")
SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"

_TELLING = tuple(map(re.compile, (
    r"(?<!collect2): (?:fatal )?error: ", r"^CMake Error", r"\bld: (?!warning)", r"^error: ", r"^[\w.]*Error: ")))
"""What the line that says why looks like, the clearest first. A compiler also echoes source, which may say anything."""

_running: set[subprocess.Popen[str]] = set()
"""Programs that a build has started, each the leader of a process group."""
_ended = threading.Event()
"""The build was ended: a program that is only just starting ends at once."""

Progress = Callable[[str, int, int], None]
"""What is done now, steps done, steps in all."""


def build(progress: Progress, full: Sequence[str] | None = None, into: Path | None = None) -> Path:
    """Build and install the library; the file. `full`: cmake options with which ggml is compiled, too.

    $CXX and $CXXFLAGS are heard. `into`: another folder, for a library that is not to be used from now on, and that
    need not run by itself (one with sanitizers). Raises LedlocalError with the first line of what went wrong; whatever
    was built before stays.
    """
    if into is not None and into.exists() and (not into.is_dir() or any(
            not path.name.startswith(("libllama", "libggml", "libmtmd", "report", "log")) for path in into.iterdir())):
        raise BadInput(f"{into} exists and holds more than libraries; --into takes a new folder")
    if (found := version("llama-cpp-python")) != PINNED:
        raise BadInput(f"the patch is for llama-cpp-python {PINNED}, and {found} is installed")
    target = into or native_folder()
    _ended.clear()
    try:
        with tempfile.TemporaryDirectory(prefix="ledlocal-build-") as folder:
            work = Path(folder)
            progress("source", 0, 1)
            source = _patched_source(work)
            made = work / "made"
            made.mkdir()
            if full is None:
                _compile(source / "vendor" / "llama.cpp", made, progress)
            else:
                _compile_all(source, made, full, progress)
            if into is None:
                _prove(made)
            return _install(made, target) / f"libllama{SUFFIX}"
    except OSError as error:
        where = error.filename or tempfile.gettempdir()
        raise OutOfResources(f"cannot build: {where}: {error.strerror or error}") from None


def _base() -> dict[str, str]:
    """Names in patches/BASE."""
    text = (resources.files("ledlocal.patches") / "BASE").read_text(encoding="ascii")
    return dict(line.split(maxsplit=1) for line in text.splitlines())


def _patched_source(work: Path) -> Path:
    """The source distribution, its hash checked, unpacked and patched."""
    base = _base()
    archive = user_cache_path("ledlocal") / "sdist" / f"{base['sdist']}.tar.gz"
    if not archive.exists():
        _download(archive, base["sha256"])
    _check(archive, base["sha256"], "; delete it")
    with tarfile.open(archive) as tar:
        tar.extractall(work, filter="data")
    source = work / base["sdist"]
    patch = work / "llama-tap.patch"
    patch.write_text(patch_text(), encoding="utf-8")
    _run("apply the patch", _program("patch"), "--quiet", "-p1", "-d", str(source / "vendor" / "llama.cpp"),
         "-i", str(patch))
    return source


def _download(archive: Path, sha256: str) -> None:
    """Fetch the source distribution into the cache: whole, or not at all."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=archive.parent) as folder:
        _run("download llama-cpp-python from the package index", sys.executable, "-m", "pip", "download", "--quiet",
             "--no-deps", "--no-binary", "llama-cpp-python", "--dest", folder, f"llama-cpp-python=={PINNED}")
        fetched = Path(folder) / archive.name
        _check(fetched, sha256)
        fetched.rename(archive)


def _check(archive: Path, sha256: str, hint: str = "") -> None:
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise BadInput(f"{archive}: its SHA-256 is {digest}, and the patch is for {sha256}{hint}")


def _compile(llama: Path, made: Path, progress: Progress) -> None:
    """libllama alone, against the installed ggml."""
    compiler = shlex.split(os.environ.get("CXX") or _program("c++", "g++", "clang++"))
    (made / "llama-version.h").write_text('#define LLAMA_VERSION "0"\n#define LLAMA_COMMIT "0"\n')
    headers = (made, llama / "src", llama / "include", llama / "ggml" / "include")
    options = [*OPTIONS, *shlex.split(os.environ.get("CXXFLAGS", "")), *(f"-I{folder}" for folder in headers)]
    sources = [*_unity_files(llama / "src" / "models", made), *sorted((llama / "src").glob("*.cpp"))]
    objects = [made / f"{path.stem}.o" for path in sources]
    with ThreadPoolExecutor(_cores()) as pool:
        try:
            left = {pool.submit(_run, f"compile {path.name}", *compiler, *options, "-c", str(path), "-o", str(made_of))
                    for path, made_of in zip(sources, objects, strict=True)}
            while left:
                done, left = wait(left, 0.2, FIRST_COMPLETED)  # a signal that another thread took is seen between two
                for job in done:
                    job.result()
                progress("compile", len(sources) - len(left), len(sources))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            _ended.set()
            for child in tuple(_running):
                _end(child)
            raise
    ggml = stock_folder()
    name = ["-Wl,-install_name,@rpath/libllama.dylib"] if sys.platform == "darwin" else ["-Wl,-soname,libllama.so.0"]
    flags = shlex.split(os.environ.get("CXXFLAGS", ""))
    _run("link libllama", *compiler, "-shared", *flags, *name, "-o", str(made / f"libllama{SUFFIX}"),
         *map(str, objects), f"-L{ggml}", "-lggml", "-lggml-base", "-lpthread")
    for path in (*objects, *made.glob("unity*.cpp"), made / "llama-version.h"):
        path.unlink()


def _unity_files(models: Path, made: Path) -> Iterator[Path]:
    sources = sorted(models.glob("*.cpp"))
    for i in range(0, len(sources), UNITY):
        path = made / f"unity{i // UNITY}.cpp"
        path.write_text("".join(f'#include "{source}"\n' for source in sources[i:i + UNITY]))
        yield path


def _compile_all(source: Path, made: Path, options: Sequence[str], progress: Progress) -> None:
    """llama-cpp-python as pip builds it; its libraries."""
    progress("compile all of llama.cpp (minutes; CUDA: many)", 0, 1)
    environ = {"CMAKE_ARGS": f"{os.environ.get('CMAKE_ARGS', '')} {shlex.join(options)}".strip()}
    _run("compile", sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-cache-dir", "--wheel-dir",
         str(made), str(source), **environ)
    [wheel] = made.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith("llama_cpp/lib/") and not name.endswith("/"):
                (made / Path(name).name).write_bytes(archive.read(name))
    wheel.unlink()


def _prove(made: Path) -> None:
    """Load the library in a process of its own and read the demo model's layers with it."""
    _run("test the new library", sys.executable, "-P", "-c",
         "from ledlocal.engine.engine import Engine; from ledlocal.models import DEMO; "
         "from ledlocal.values.params import EngineOptions; "
         "Engine(EngineOptions(str(DEMO), context=256, tap='native')).close()", **{OVERRIDE: str(made)})


def _install(made: Path, target: Path) -> Path:
    """Put the folder in its place, in one step."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=".new-"))
    try:
        for path in made.iterdir():
            shutil.copy2(path, beside)
        beside.chmod(0o755)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    if target.exists():
        old = Path(tempfile.mkdtemp(dir=target.parent, prefix=".old-"))
        target.rename(old / "native")
        beside.rename(target)
        shutil.rmtree(old)
    else:
        beside.rename(target)
    return target


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _program(*names: str) -> str:
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise BadInput(f"the program {' or '.join(names)} is missing; a C++ compiler and patch are needed to build")
    return found


def _run(what: str, *command: str, **environ: str) -> None:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, errors="backslashreplace", process_group=0, env={**os.environ, **environ})
    _running.add(child)
    if _ended.is_set():
        _end(child)
    try:
        out, err = child.communicate()
    except BaseException:
        _end(child)
        raise
    finally:
        _running.discard(child)
    if child.returncode:
        kind = OutOfResources if os.strerror(errno.ENOSPC) in out + err else LedlocalError
        raise kind(f"could not {what}: {_why(out + err) or f'exit code {child.returncode}'}")


def _why(output: str) -> str:
    """The line of a program's output that says why it failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = (line for sign in _TELLING for line in lines if sign.search(line))
    return next(telling, lines[-1] if lines else "")


def _end(child: subprocess.Popen[str]) -> None:
    """End a program and what it has started: a compiler's driver would leave the compiler running."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
