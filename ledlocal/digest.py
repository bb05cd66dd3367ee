"""SHA-256 of model files, computed once and remembered."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from platformdirs import user_cache_path


def sha256_of_parts(paths: Sequence[Path]) -> str:
    """SHA-256 of a model: of its file, or for a split one of its parts' digests, each in hex with a newline.

    `sha256sum PARTS | cut -c1-64 | sha256sum` gives the same. Raises OSError.
    """
    digests = [sha256_of(path) for path in paths]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


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
