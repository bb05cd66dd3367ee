"""What a GGUF file says about itself, read without llama.cpp and without trusting a byte.

Only the header is read, in pieces, and never mapped: a file that shrinks meanwhile is an error, not a SIGBUS. Every
count and length is held against the bytes left in the file, and against limits far above any real model, before
anything is allocated. Layout: ggml/src/gguf.cpp of llama.cpp 0c1e57098 (vendored by llama-cpp-python 0.3.36).
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from ledlocal.runtime.ggml_types import GGML_TYPES
from ledlocal.runtime.scanner import Scanner, Value, shown
from ledlocal.values.errors import BadInput

ENTRIES_LIMIT = 1 << 16
"""Metadata keys, and tensors."""

_OTHER_FORMATS = {b"lmgg": "GGML, the format before GGUF", b"ggml": "byte-swapped GGML", b"tjgg": "GGJT, the format "
                  "before GGUF", b"fmgg": "GGMF, the format before GGUF", b"PK\3\4": "a zip archive (a PyTorch "
                  "checkpoint?)", b"vers": "a Git LFS pointer? the real file was not downloaded", b"<!DO": "a web page",
                  b"<htm": "a web page", b"FUGG": "byte-swapped GGUF"}
_SPLIT_NAME = re.compile(r"(?P<prefix>.*)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


MOST_ALIGNED = 1 << 20
"""Bytes."""


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


def _open(scan: Scanner) -> tuple[int, int, int]:
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


def _metadata(scan: Scanner, n: int) -> tuple[dict[str, Value], dict[str, str]]:
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


def _tensor(scan: Scanner, i: int) -> TensorInfo:
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


def _tensors(scan: Scanner, n: int, alignment: int) -> tuple[dict[str, TensorInfo], int]:
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
            return _scan(Scanner(path, file, info.st_size))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise BadInput(f"{str(path)!r}: {error}") from None


def _scan(scan: Scanner) -> Header:
    version, n_tensors, n_keys = _open(scan)
    metadata, kinds = _metadata(scan, n_keys)
    alignment = metadata.get("general.alignment", 32)
    if kinds.get("general.alignment", "u32") != "u32" or not isinstance(alignment, int) or alignment.bit_count() != 1 \
            or alignment > MOST_ALIGNED:
        scan.refuse(f"general.alignment must be a u32 power of two up to {MOST_ALIGNED}, not {alignment}")
    tensors, data = _tensors(scan, n_tensors, alignment)
    return Header(scan.path, version, alignment, MappingProxyType(metadata), MappingProxyType(kinds),
                  tuple(scan.not_utf8), MappingProxyType(tensors), data, scan.size,
                  _splits(scan.path, metadata.get("split.count", 0)))
