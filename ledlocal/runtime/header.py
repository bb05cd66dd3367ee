"""What a GGUF file says about itself, read without llama.cpp and without trusting a byte.

Only the header is read, in pieces, and never mapped: a file that shrinks meanwhile is an error, not a SIGBUS. Every
count and length is held against the bytes left in the file, and against limits far above any real model, before
anything is allocated. Layout: ggml/src/gguf.cpp of llama.cpp 0c1e57098 (vendored by llama-cpp-python 0.3.36).
"""

from __future__ import annotations

import re
import stat
import struct
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from ledlocal.runtime.ggml_types import GGML_TYPES
from ledlocal.values.errors import BadInput

HEADER_LIMIT = 64 << 20
"""Bytes before the tensor data; a 262,144-token vocabulary with its merges takes 16 MiB."""
STRINGS_LIMIT = 1 << 21
"""Strings in all arrays of the file together."""
TEXT_LIMIT = 24 << 20
"""Bytes of all strings outside arrays; decoded, a byte can take four."""
ENTRIES_LIMIT = 1 << 16
"""Metadata keys, and tensors."""

_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_SCALARS = {0: ("u8", "<B"), 1: ("i8", "<b"), 2: ("u16", "<H"), 3: ("i16", "<h"), 4: ("u32", "<I"), 5: ("i32", "<i"),
            6: ("f32", "<f"), 7: ("bool", "<b"), 10: ("u64", "<Q"), 11: ("i64", "<q"), 12: ("f64", "<d")}
_OTHER_FORMATS = {b"lmgg": "GGML, the format before GGUF", b"ggml": "byte-swapped GGML", b"tjgg": "GGJT, the format "
                  "before GGUF", b"fmgg": "GGMF, the format before GGUF", b"PK\3\4": "a zip archive (a PyTorch "
                  "checkpoint?)", b"vers": "a Git LFS pointer? the real file was not downloaded", b"<!DO": "a web page",
                  b"<htm": "a web page", b"FUGG": "byte-swapped GGUF"}
_SPLIT_NAME = re.compile(r"(?P<prefix>.*)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


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


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor's entry."""

    name: str
    dims: tuple[int, ...]
    """ggml order: the first one is contiguous (a matrix is (columns, rows))."""
    type: str
    """Name in GGML_TYPES."""
    offset: int
    """From the start of the file, in bytes."""
    nbytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """One GGUF file without its weights."""

    path: Path
    version: int
    alignment: int
    metadata: Mapping[str, Value]
    """Numeric arrays are NumPy arrays."""
    kinds: Mapping[str, str]
    """How each value is stored: `u32`, `str`, `[f32]`, ..."""
    not_utf8: tuple[str, ...]
    """Keys of strings with bytes that are not UTF-8 (kept as backslash escapes)."""
    tensors: Mapping[str, TensorInfo]
    data_offset: int
    size: int
    """Of the file, in bytes."""
    splits: tuple[Path, ...]
    """Every part of a split model in order, by name; (path,) of a whole one."""

    @property
    def architecture(self) -> str:
        """`general.architecture`, or an empty string."""
        value = self.metadata.get("general.architecture", "")
        return value if isinstance(value, str) else ""


def shown(name: str) -> str:
    """A name from the file, fit for one line of a message."""
    return repr(name if len(name) <= 80 else name[:77] + "...")


class _Scanner:
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


def _open(scan: _Scanner) -> tuple[int, int, int]:
    """Check the magic; (version, number of tensors, number of keys)."""
    if scan.size < 24:
        scan.refuse("the file is empty" if scan.size == 0 else f"{scan.size} bytes are too few for a GGUF file")
    scan.need(4, "the magic")
    magic = bytes(scan.data[:4])
    if magic != b"GGUF":
        scan.refuse(f"not a GGUF file but {_OTHER_FORMATS.get(magic, f'one that begins with {magic!r}')}")
    scan.pos = 4
    version = scan.scalar("<I", "the version")
    if version and version & 0xFFFF == 0:
        scan.refuse("a big-endian GGUF file (byte-swapped version); convert it for this machine")
    if version not in (2, 3):
        scan.refuse(f"GGUF version {version}; llama.cpp reads versions 2 and 3")
    tensors = scan.count("<q", 24, ENTRIES_LIMIT, "the number of tensors")
    return version, tensors, scan.count("<q", 13, ENTRIES_LIMIT, "the number of metadata keys")


def _metadata(scan: _Scanner, n: int) -> tuple[dict[str, Value], dict[str, str]]:
    values: dict[str, Value] = {}
    kinds: dict[str, str] = {}
    for i in range(n):
        key = scan.string(f"metadata key {i}")
        if not key:
            scan.refuse(f"metadata key {i} is empty")
        if key in values:
            scan.refuse(f"metadata key {shown(key)} appears twice")
        kinds[key], values[key] = scan.value(scan.scalar("<I", f"key {shown(key)}"), f"key {shown(key)}")
    return values, kinds


def _tensor(scan: _Scanner, i: int) -> TensorInfo:
    """Entry i, its offset still counted from the start of the data section."""
    name = scan.string(f"the name of tensor {i}")
    what = f"tensor {shown(name)}"
    if len(name.encode()) >= 64:
        scan.refuse(f"{what}: its name has 64 bytes or more")
    n_dims = scan.scalar("<I", what)
    if n_dims > 4:
        scan.refuse(f"{what} has {n_dims} dimensions; ggml has 4")
    dims = tuple(scan.scalar("<q", what) for _ in range(n_dims))
    number = scan.scalar("<i", what)
    offset = scan.scalar("<Q", what)
    elements = 1
    for dim in dims:
        elements *= dim
    if min(dims, default=1) < 1 or elements >= 2**60:
        scan.refuse(f"{what} has the impossible shape {dims}")
    if number not in GGML_TYPES:
        scan.refuse(f"{what} has the unknown type {number}")
    kind, block, block_bytes = GGML_TYPES[number]
    if (dims[0] if dims else 1) % block:
        scan.refuse(f"{what}: rows of {dims[0] if dims else 1} elements do not fill blocks of {block} ({kind})")
    return TensorInfo(name, dims, kind, offset, elements // block * block_bytes)


def _tensors(scan: _Scanner, n: int, alignment: int) -> tuple[dict[str, TensorInfo], int]:
    """Every tensor, and where the data section starts. As llama.cpp: one after the other, in order, aligned."""
    entries: dict[str, TensorInfo] = {}
    for i in range(n):
        info = _tensor(scan, i)
        if info.name in entries:
            scan.refuse(f"tensor {shown(info.name)} appears twice")
        entries[info.name] = info
    data = -(-scan.pos // alignment) * alignment if n else scan.pos
    expected = 0
    for name, info in entries.items():
        if info.offset != expected:
            scan.refuse(f"tensor {shown(name)} starts at byte {info.offset} of the data, not at {expected}: "
                        "it overlaps its neighbour or leaves a gap")
        expected += -(-info.nbytes // alignment) * alignment
        entries[name] = replace(info, offset=data + info.offset)
    return entries, data


def _splits(path: Path, count: Value) -> tuple[Path, ...]:
    match = _SPLIT_NAME.fullmatch(path.name)
    if match is None or not isinstance(count, int) or not 1 < count <= 99_999 or int(match["count"]) != count:
        return (path,)
    return tuple(path.with_name(f"{match['prefix']}-{i:05d}-of-{count:05d}.gguf") for i in range(1, count + 1))


def read_header(path: Path) -> Header:
    """Read a GGUF file's header. Raises BadInput naming the file and the field for anything that is not sound."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise BadInput(f"{path}: not a regular file")
        with path.open("rb", buffering=0) as file:
            return _scan(_Scanner(path, file, info.st_size))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise BadInput(f"{str(path)!r}: {error}") from None


def _scan(scan: _Scanner) -> Header:
    version, n_tensors, n_keys = _open(scan)
    metadata, kinds = _metadata(scan, n_keys)
    alignment = metadata.get("general.alignment", 32)
    if kinds.get("general.alignment", "u32") != "u32" or not isinstance(alignment, int) or alignment.bit_count() != 1:
        scan.refuse(f"general.alignment must be a u32 power of two, not {alignment}")
    tensors, data = _tensors(scan, n_tensors, alignment)
    return Header(scan.path, version, alignment, MappingProxyType(metadata), MappingProxyType(kinds),
                  tuple(scan.not_utf8), MappingProxyType(tensors), data, scan.size,
                  _splits(scan.path, metadata.get("split.count", 0)))
