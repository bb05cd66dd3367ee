"""Files that a user names: their path, and their text."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from ledlocal.values.errors import BadInput, OutOfResources

LARGEST = 64 << 20
"""Bytes; more is no text that anything here reads."""


def user_path(name: str) -> Path:
    """A path as a shell would take it, `~` included. Raises BadInput for the home of nobody."""
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{name}: {error}") from None


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; a pipe or a device could make us wait, or never end. Raises BadInput."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
        raise BadInput(f"{path}: {'Is a directory' if stat.S_ISDIR(mode) else 'not a regular file'}")
    except (OSError, ValueError) as error:  # a NUL in the name
        raise BadInput(f"{path}: {error.strerror if isinstance(error, OSError) else error}") from None


def read_most(file: BinaryIO, name: str, most: int = LARGEST) -> bytes:
    """All of a stream, in pieces: memory is taken as it comes. Raises BadInput if it has more than `most` bytes."""
    data = bytearray()
    while piece := file.read(2**16):
        data += piece
        if len(data) > most:
            raise BadInput(f"{name} has more than {most} bytes")
    return bytes(data)


def read_text(path: Path, most: int = LARGEST) -> str:
    """The text of a regular file of at most `most` bytes in UTF-8. Raises BadInput naming it."""
    with open_regular(path) as file:
        data = read_most(file, str(path), most)
    try:
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not a text file in UTF-8") from None


def require_new(path: Path) -> None:
    """Raise BadInput unless nothing has this name in a folder that is there."""
    if os.path.lexists(path):
        raise BadInput(f"{path} exists; choose another name")
    if not os.path.isdir(path.parent):
        raise BadInput(f"{path.parent}: no such folder")


def write_whole(path: Path, content: str | bytes) -> None:
    """Replace a file, text in UTF-8: whole, or not at all. Raises OutOfResources."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise OutOfResources(f"cannot write {path}: {error.strerror}") from None
