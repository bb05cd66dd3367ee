"""Whether a file is still the one it was."""

from __future__ import annotations

from pathlib import Path


def file_identity(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file: size, time, inode; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
