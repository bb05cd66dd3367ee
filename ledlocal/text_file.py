"""Files that a user names: their path, and their text."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ledlocal.values.errors import BadInput

LARGEST = 64 << 20
"""Bytes; more is no text that anything here reads."""


def user_path(name: str) -> Path:
    """A path as a shell would take it, `~` included. Raises BadInput for the home of nobody."""
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{name}: {error}") from None


def read_text(path: Path, most: int = LARGEST) -> str:
    """The text of a regular file of at most `most` bytes in UTF-8. Raises BadInput naming it."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadInput(f"{path}: not a regular file")
            if status.st_size > most:
                raise BadInput(f"{path} has {status.st_size} bytes; at most {most} are read")
            return file.read()
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not a text file in UTF-8") from None
    except (OSError, ValueError) as error:  # a NUL in the name
        raise BadInput(f"{path}: {error.strerror if isinstance(error, OSError) else error}") from None
