"""Which file a model's name means, and that file's SHA-256."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from platformdirs import user_cache_path

from ledlocal.values.errors import BadInput

DEMO = Path(__file__).parent / "demo" / "countdown-rl-f16.gguf"
"""The model that comes with the package: number puzzles, 2.6 MB."""


def resolve(name: str | None) -> Path:
    """The file that `name` means: None and `demo` are the embedded model, anything else a path (`./demo` too).

    Raises BadInput unless it is a regular file that may be read.
    """
    if name is None or name == "demo":
        return DEMO
    try:
        path = Path(name).expanduser()
        mode = path.stat().st_mode
    except FileNotFoundError:
        hint = "; a model is a path to a GGUF file, or demo"
        if any(letter.isspace() for letter in name):
            hint = "; to ask the demo model: ledlocal chat demo PROMPT"
        raise BadInput(f"{name}: no such file{hint}") from None
    except (OSError, ValueError, RuntimeError) as error:  # A NUL in the name; ~ of nobody.
        raise BadInput(f"{name!r}: {error.strerror if isinstance(error, OSError) else error}") from None
    if not stat.S_ISREG(mode):
        raise BadInput(f"{name}: {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}, not a GGUF file")
    if not os.access(path, os.R_OK):
        raise BadInput(f"{name}: no permission to read it")
    return path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits; computed once for each real path, size, mtime and inode.

    Raises OSError.
    """
    with path.open("rb") as file:
        before = _identity(path, os.fstat(file.fileno()))
        entry = user_cache_path("ledlocal") / "sha256" / hashlib.sha256(before).hexdigest()
        known = _read_entry(entry)
        if known is not None:
            return known
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if _identity(path, os.fstat(file.fileno())) == before:
            _write_entry(entry, digest)
    return digest


def _identity(path: Path, status: os.stat_result) -> bytes:
    numbers = (status.st_size, status.st_mtime_ns, status.st_ino)
    return os.fsencode(path.resolve()) + b"\0" + repr(numbers).encode()


def _read_entry(entry: Path) -> str | None:
    """The digest kept there; None if there is none, or something else."""
    try:
        text = entry.read_bytes().decode("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if re.fullmatch("[0-9a-f]{64}", text) else None


def _write_entry(entry: Path, digest: str) -> None:
    """Keep a digest if the cache can be written; else it is computed again next time."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        whole = entry.with_name(f"{entry.name}.{os.getpid()}")
        whole.write_text(digest, encoding="ascii")
        whole.replace(entry)
    except OSError:
        return
