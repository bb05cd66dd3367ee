"""Fields of a file's front, read in order and refused before anything is allocated for them."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from ledlocal.values.errors import BadInput

HEADER_LIMIT = 64 << 20
"""Bytes before the tensor data; a 262,144-token vocabulary with its merges takes 16 MiB."""
STRINGS_LIMIT = 1 << 21
"""Strings in all arrays of the file together."""
TEXT_LIMIT = 24 << 20
"""Bytes of all strings outside arrays; decoded, a byte can take four."""

_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_SCALARS = {0: ("u8", "<B"), 1: ("i8", "<b"), 2: ("u16", "<H"), 3: ("i16", "<h"), 4: ("u32", "<I"), 5: ("i32", "<i"),
            6: ("f32", "<f"), 7: ("bool", "<b"), 10: ("u64", "<Q"), 11: ("i64", "<q"), 12: ("f64", "<d")}


class StringArray:
    """An array of strings that stays in the header's bytes; an item is decoded when it is asked for."""

    def __init__(self, data: bytearray, starts: array[int]) -> None:
        self._data = data
        self._starts = starts

    def raw(self, i: int) -> bytes:
        """The bytes of string i, not decoded."""
        start = self._starts[i]
        return bytes(self._data[start:start + _LENGTH.unpack_from(self._data, start - 8)[0]])

    def raws(self) -> Iterator[bytes]:
        """Every string's bytes, in order."""
        return map(self.raw, range(len(self)))

    def __getitem__(self, i: int) -> str:
        return self.raw(i).decode("utf-8", "backslashreplace")

    def __iter__(self) -> Iterator[str]:
        return (raw.decode("utf-8", "backslashreplace") for raw in self.raws())

    def __len__(self) -> int:
        return len(self._starts)


Value = int | float | bool | str | StringArray | NDArray[Any]


def shown(name: str) -> str:
    """A name from the file, fit for one line of a message."""
    return repr(name if len(name) <= 80 else name[:77] + "...")


class Scanner:
    """Reads little-endian fields from the front of a file; refuses before it allocates."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self.path = path
        self.size = size
        self.pos = 0
        self.data = bytearray()
        self.strings = self.text = 0
        self.not_utf8: list[str] = []
        self._file = file

    def refuse(self, why: str) -> NoReturn:
        """Raise BadInput naming the file."""
        raise BadInput(f"{self.path}: {why}")

    def need(self, end: int, what: str) -> None:
        """Have the bytes up to `end` in `data`."""
        if end <= len(self.data):
            return
        if end > self.size:
            self.refuse(f"the file ends inside {what} ({end - self.size} bytes missing); download incomplete?")
        if end > HEADER_LIMIT:
            self.refuse(f"{what} reaches past {HEADER_LIMIT >> 20} MiB; no real header is that long")
        while end > len(self.data):
            piece = self._file.read(max(end - len(self.data), 1 << 18))
            if not piece:
                self.refuse(f"the file shrank while {what} was read")
            self.data += piece

    def scalar(self, form: str, what: str) -> Any:
        """A number in `struct`'s notation."""
        size = struct.calcsize(form)
        self.need(self.pos + size, what)
        (value,) = struct.unpack_from(form, self.data, self.pos)
        self.pos += size
        return value

    def count(self, form: str, smallest: int, limit: int, what: str) -> int:
        """A count of entries of at least `smallest` bytes each."""
        n = int(self.scalar(form, what))
        if not 0 <= n <= (self.size - self.pos) // smallest:
            self.refuse(f"{what} is {n}, but only {self.size - self.pos} bytes are left; damaged, or download "
                        "incomplete?")
        if n > limit:
            self.refuse(f"{what} is {n}; no real model has more than {limit}")
        return n

    def string(self, what: str) -> str:
        """A string; bytes that are not UTF-8 become escapes."""
        n = self.count("<Q", 1, TEXT_LIMIT - self.text, f"the length of {what}")
        self.text += n
        self.need(self.pos + n, what)
        raw = bytes(self.data[self.pos:self.pos + n])
        self.pos += n
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.not_utf8.append(what)
            return raw.decode("utf-8", "backslashreplace")

    def string_array(self, what: str) -> StringArray:
        """An array of strings, not decoded yet."""
        n = self.count("<Q", 8, STRINGS_LIMIT - self.strings, f"the length of {what}")
        self.strings += n
        starts = array("Q")
        pos, have = self.pos, len(self.data)
        for _ in range(n):
            pos += 8
            if pos > have:
                self.need(pos, what)
                have = len(self.data)
            starts.append(pos)
            pos += _LENGTH.unpack_from(self.data, pos - 8)[0]
            if pos > have:
                self.need(pos, what)
                have = len(self.data)
        self.pos = pos
        return StringArray(self.data, starts)

    def value(self, kind: int, what: str) -> tuple[str, Value]:
        """A metadata value and how it is stored."""
        if kind == _STRING:
            return "str", self.string(what)
        if kind in _SCALARS:
            name, form = _SCALARS[kind]
            scalar = self.scalar(form, what)
            return name, bool(scalar) if name == "bool" else scalar
        if kind != _ARRAY:
            self.refuse(f"{what} has the unknown type {kind}")
        element = self.scalar("<I", what)
        if element == _STRING:
            return "[str]", self.string_array(what)
        if element not in _SCALARS:
            self.refuse(f"{what} is an array of type {element} (nested or unknown)")
        name, form = _SCALARS[element]
        dtype = np.dtype(form)
        n = self.count("<Q", dtype.itemsize, HEADER_LIMIT, f"the length of {what}")
        self.need(self.pos + n * dtype.itemsize, what)
        numbers = np.frombuffer(bytes(self.data[self.pos:self.pos + n * dtype.itemsize]), dtype)
        self.pos += numbers.nbytes
        return f"[{name}]", numbers
