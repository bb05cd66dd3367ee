"""Damaged GGUF files, made from sound ones: field by field, and at random. A number names a case, always the same one.
"""

from __future__ import annotations

import hashlib
import math
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bad_ggufs import CODES, Gguf, Tensor, entry, good
from parsed_gguf import parse
from tiny_models import tiny_model
from tiny_recipes import RECIPES

from ledlocal.models import DEMO

SEED = 20260101


@dataclass(frozen=True)
class Damaged:
    """One damaged file."""

    name: str
    """Number, the sound file it was made from, and what was done."""
    data: bytes


class Corpus:
    """Damaged files of the demo model, of `bad_ggufs.good()`, and of a tiny model of every architecture."""

    def __init__(self, folder: Path) -> None:
        """`folder`: for the sound files."""
        self.sound = {"demo": DEMO.read_bytes(), "good": good().build()}
        self.sound |= {name: tiny_model(folder / f"{name}.gguf", name).read_bytes() for name in RECIPES}
        self._draws: list[int] = []
        """Of the files that differ from each other and from the sound ones."""
        self._next_draw = -1
        self._seen = {hashlib.sha256(data).digest() for data in self.sound.values()}

    def __getitem__(self, number: int) -> Damaged:
        while len(self._draws) <= number:
            self._next_draw += 1
            _, data = self._damaged(self._next_draw)
            if (digest := hashlib.sha256(data).digest()) not in self._seen:
                self._seen.add(digest)
                self._draws.append(self._next_draw)
        name, data = self._damaged(self._draws[number])
        return Damaged(f"{number}: {name}", data)

    def _damaged(self, draw_number: int) -> tuple[str, bytes]:
        draw = random.Random(f"{SEED}/{draw_number}")
        # every third one is of the demo, whose vocabulary and template a real model could have
        name = "demo" if draw_number % 3 == 0 else draw.choice(list(self.sound)[1:])
        kind = draw.choices(list(_DAMAGES), list(_DAMAGES.values()))[0]
        what, data = kind(draw, self.sound[name])
        return f"{name}: {what}", data


Damage = Callable[[random.Random, bytes], tuple[str, bytes]]
"""Draw, sound file -> what was done, damaged file."""


def _number_beside(draw: random.Random, kind: str, value: float) -> float:
    """Another number that the type can hold."""
    if kind == "bool":
        return not value
    if kind.startswith("f"):
        return draw.choice((math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-30, 1e30, 1000 * value, -value, value / 3))
    bits = int(kind[1:])
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if kind[0] == "i" else (0, 2**bits - 1)
    near = (value - 1, value + 1, 2 * value, value // 2, -1, 0, 1, 2, 3, 5, 7, 8, 33, 255, 513, 2**15, 2**16, 2**20,
            2**24, 2**30, 2**31 - 1, 2**31, 2**32 - 1, 2**40, low, high)
    return draw.choice([int(x) for x in near if low <= x <= high and x != value])


_TEXTS = (b"", b"garbage", b"\x1b[2J\x1b]0;x\x07", b"\xff\xfe\x80", b"a" * 100_000, b"\0", b"../../../etc/passwd",
          b"{{", b"{% for m in messages %}", b"{{ raise_exception('no') }}", b"<|im_start|>", b" ", b"[red]", b"%s%n%x",
          "\u202e\u2028é".encode(), b"llama", b"default")


def _text_beside(draw: random.Random, value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return draw.choice((*_TEXTS, raw[:-1], raw + b"x", raw.upper(), raw[::-1], raw[:len(raw) // 2]))


def _beside(draw: random.Random, kind: str, value: Any) -> Any:
    return _text_beside(draw, value) if kind == "str" else _number_beside(draw, kind, value)


def _some_key(draw: random.Random, gguf: Gguf) -> str | bytes:
    return draw.choice(list(gguf.metadata))


def _value(draw: random.Random, data: bytes) -> tuple[str, bytes]:
    """A hostile value of the same type."""
    gguf = parse(data)
    key = draw.choice([key for key, (kind, _) in gguf.metadata.items() if not kind.startswith("[")])
    kind, value = gguf.metadata[key]
    gguf.metadata[key] = kind, (new := _beside(draw, kind, value))
    return f"{key!r} = {new!r:.60}", gguf.build()


def _array(draw: random.Random, data: bytes) -> tuple[str, bytes]:
    """An array with one element, or its length, changed."""
    gguf = parse(data)
    key = draw.choice([key for key, (kind, _) in gguf.metadata.items() if kind.startswith("[")])
    kind, values = gguf.metadata[key]
    changed = list(values)
    at = draw.randrange(len(values))
    what = draw.choice(("element", "twin", "shorter", "longer", "empty", "reversed", "all alike", "some"))
    if what == "element":
        changed[at] = _beside(draw, kind[1:-1], values[at])
    elif what == "twin":
        changed[at] = draw.choice(values)
    elif what == "some":
        for i in draw.sample(range(len(values)), min(8, len(values))):
            changed[i] = _beside(draw, kind[1:-1], values[i])
    else:
        changed = {"shorter": changed[:at], "longer": changed + changed[:at + 1], "empty": [],
                   "reversed": changed[::-1], "all alike": [changed[at]] * len(changed)}[what]
    gguf.metadata[key] = kind, changed
    return f"{key!r}: {what} at {at}", gguf.build()


def _type(draw: random.Random, data: bytes) -> tuple[str, bytes]:
    """A value stored as another type, its number or text kept where it can be."""
    gguf = parse(data)
    key = _some_key(draw, gguf)
    kind, value = gguf.metadata[key]
    new = draw.choice([other for other in (*CODES, *(f"[{name}]" for name in CODES)) if other != kind])
    element = new.strip("[]")

    def converted(item: Any) -> Any:
        if element == "str":
            return item if isinstance(item, bytes) else str(item)
        number = 1 if isinstance(item, bytes) or not math.isfinite(item) else item
        if element.startswith("f"):
            return float(number)
        if element == "bool":
            return bool(number)
        return int(number) % 2 ** (int(element[1:]) - 1)

    items = value if kind.startswith("[") else [value]
    gguf.metadata[key] = new, ([converted(item) for item in items] if new.startswith("[") else converted(items[0]))
    return f"{key!r} as {new} instead of {kind}", gguf.build()


def _key(draw: random.Random, data: bytes) -> tuple[str, bytes]:
    """A key dropped, renamed or repeated."""
    gguf = parse(data)
    key = _some_key(draw, gguf)
    what = draw.choice(("dropped", "dropped", "renamed", "repeated", "unknown"))
    if what == "repeated":
        gguf.extra, gguf.n_keys = entry(key, *gguf.metadata[key]), len(gguf.metadata) + 1
    elif what == "unknown":
        code = draw.choice((9, 13, 77, 2**31))
        gguf.extra, gguf.n_keys = struct.pack("<Q", 1) + b"x" + struct.pack("<I", code), len(gguf.metadata) + 1
    else:
        value = gguf.metadata.pop(key)
        if what == "renamed":
            raw = key if isinstance(key, bytes) else key.encode()
            gguf.metadata[draw.choice((b"", raw + b"\xff", raw[:-1], raw.upper(), b"\x1b[2J" + raw))] = value
    return f"{key!r} {what}", gguf.build()


def _count(draw: random.Random, data: bytes) -> tuple[str, bytes]:
    """Another magic, version or count."""
    gguf = parse(data)
    what = draw.choice(("magic", "version", "n_tensors", "n_keys"))
    if what == "magic":
        gguf.magic = draw.choice((b"GGML", b"tjgg", b"FUGG", b"\0\0\0\0", b"ggUF", b"PK\3\4"))
    elif what == "version":
        gguf.version = draw.choice((0, 1, 2, 4, 99, 3 << 24, 2**32 - 1))
    else:
        real = len(gguf.tensors) if what == "n_tensors" else len(gguf.metadata)
        new = draw.choice((0, -1, real - 1, real + 1, 2 * real, 2**16, 2**31, 2**58, 2**60, 2**63 - 1))
        setattr(gguf, what, new)
    return f"{what} = {getattr(gguf, what)!r}", gguf.build()


def _tensor(draw: random.Random, data: bytes) -> tuple[str, bytes]:
    """One tensor's entry changed, its data as it was."""
    gguf = parse(data)
    name = draw.choice(list(gguf.tensors))
    one = gguf.tensors[name]
    assert one.dims is not None
    what = draw.choice(("type", "dims", "offset", "name", "dropped", "dims", "type"))
    if what == "type":
        one.type = draw.choice([code for code in (*range(-1, 45), 99, 2**31 - 1) if code != one.type])
    elif what == "dims":
        at = draw.randrange(max(1, len(one.dims)))
        new = int(_number_beside(draw, "i64", one.dims[at]))
        one.dims = draw.choice((one.dims[::-1], (*one.dims[:at], new, *one.dims[at + 1:]), (*one.dims, 1), one.dims[1:],
                                (*one.dims, 2, 2, 2), one.dims * 3))
    elif what == "offset":
        one.offset = draw.choice((1, 31, 32, 4096, 2**31, 2**62, 2**64 - 32))
    else:
        other = draw.choice(list(gguf.tensors))
        new_name = draw.choice(("", "x" * 64, name + "x", name[:-1], "\x1b[2J", name.upper(), other + "_norm.weight"))
        gguf.tensors = {new_name if each == name else each: tensor for each, tensor in gguf.tensors.items()
                        if each != name or what == "name"}
    return f"tensor {name!r}: {what} {one.type} {one.dims} {one.offset}", gguf.build()


_BLOCKS = {0: (1, 4), 1: (1, 2), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2),
           2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36), 10: (256, 84), 12: (256, 144),
           14: (256, 210), 15: (256, 292), 20: (32, 18), 39: (32, 17)}
"""ggml type -> elements and bytes of a block (ggml-common.h)."""


def _stored_as(draw: random.Random, data: bytes) -> tuple[str, bytes]:
    """One tensor stored as another type with as much data as that type takes: a converter's mistake."""
    gguf = parse(data)
    name = draw.choice(list(gguf.tensors))
    one = gguf.tensors[name]
    assert one.dims is not None
    fitting = [code for code, (block, _) in _BLOCKS.items() if code != one.type and one.dims[0] % block == 0]
    code = draw.choice(fitting)
    block, size = _BLOCKS[code]
    count = math.prod(one.dims) // block * size
    content = draw.choice((bytes(count), draw.randbytes(count)))
    gguf.tensors[name] = Tensor(np.frombuffer(content, np.uint8), code, one.dims)
    return f"tensor {name!r} stored as type {code}", gguf.build()


def _weights(draw: random.Random, data: bytes) -> tuple[str, bytes]:
    """Bytes of one tensor's data overwritten: zeros, ones (NaN), or noise."""
    gguf = parse(data)
    name = draw.choice(list(gguf.tensors))
    one = gguf.tensors[name]
    raw = bytearray(one.data.tobytes())
    at = draw.randrange(len(raw))
    n = min(draw.choice((1, 2, 4, 64, len(raw))), len(raw) - at)
    how = draw.choice(("zeros", "ones", "noise", "flip"))
    fill = {"zeros": bytes(n), "ones": b"\xff" * n, "noise": draw.randbytes(n),
            "flip": bytes([raw[at] ^ 1 << draw.randrange(8)]) + raw[at + 1:at + n]}[how]
    raw[at:at + n] = fill
    one.data = np.frombuffer(bytes(raw), np.uint8)
    return f"weights of {name!r}: {how}, {n} bytes from {at}", gguf.build()


def _header_length(data: bytes) -> int:
    gguf = parse(data)
    return len(data) - sum(tensor.data.size for tensor in gguf.tensors.values())


def _cut(draw: random.Random, data: bytes) -> tuple[str, bytes]:
    """The end is missing, or zeros: a download that stopped."""
    length = draw.choice((len(data), _header_length(data)))
    at = draw.choice((draw.randrange(length), length - 1, draw.randrange(min(64, length))))
    if draw.random() < 0.25:
        return f"zeros from {at}", data[:at] + bytes(len(data) - at)
    return f"cut at {at}", data[:at]


def _bytes(draw: random.Random, data: bytes) -> tuple[str, bytes]:
    """A few bytes of the header replaced, flipped, taken out or put in."""
    length = _header_length(data)
    damaged = bytearray(data)
    how = draw.choice(("replaced", "replaced", "flipped", "flipped", "taken out", "put in", "moved"))
    places = [draw.randrange(4, length) for _ in range(draw.choice((1, 1, 2, 4, 16)))]
    for at in places:
        if how == "replaced":
            damaged[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        elif how == "flipped":
            damaged[at] ^= 1 << draw.randrange(8)
        elif how == "taken out":
            del damaged[at:at + draw.choice((1, 4, 8, 64))]
        elif how == "put in":
            damaged[at:at] = draw.randbytes(draw.choice((1, 4, 8, 64)))
        else:
            to, n = draw.randrange(4, length), draw.choice((4, 8, 64))
            damaged[to:to + n] = damaged[at:at + n]
    return f"bytes {how} at {places}", bytes(damaged)


_DAMAGES: dict[Damage, int] = {_value: 30, _array: 12, _type: 10, _key: 8, _count: 3, _tensor: 12, _stored_as: 8,
                               _weights: 4, _cut: 4, _bytes: 15}
"""Damage -> how often, of about 100."""
