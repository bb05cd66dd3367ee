"""A sound GGUF file taken apart into what `bad_ggufs` builds files from; independent of ledlocal's scanner."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from bad_ggufs import CODES, DATA_ALIGNMENT, FORMS, Gguf, Tensor

_KINDS = {code: kind for kind, code in CODES.items()}


class _Reader:
    """Fields of a sound file, front to back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self) -> bytes:
        length = self.number("<Q")
        self.at += length
        return self.data[self.at - length:self.at]

    def scalar(self, kind: str) -> Any:
        return self.text() if kind == "str" else self.number(FORMS[kind])

    def value(self) -> tuple[str, Any]:
        code = self.number("<I")
        if code != 9:
            return _KINDS[code], self.scalar(_KINDS[code])
        kind, n = _KINDS[self.number("<I")], self.number("<Q")
        return f"[{kind}]", [self.scalar(kind) for _ in range(n)]


def parse(data: bytes) -> Gguf:
    """A sound file in parts; `parse(data).build() == data`."""
    reader = _Reader(data)
    reader.at = 8
    n_tensors, n_keys = reader.number("<q"), reader.number("<q")
    metadata: dict[str | bytes, tuple[str, Any]] = {}
    for _ in range(n_keys):
        key = reader.text().decode()
        metadata[key] = reader.value()
    entries: list[tuple[str, tuple[int, ...], int, int]] = []
    for _ in range(n_tensors):
        name = reader.text().decode()
        dims = tuple(reader.number("<q") for _ in range(reader.number("<I")))
        entries.append((name, dims, reader.number("<i"), reader.number("<Q")))
    start = reader.at + -reader.at % DATA_ALIGNMENT
    ends = [*(offset for *_, offset in entries[1:]), len(data) - start][:len(entries)]  # none: a vocabulary alone
    tensors = {name: Tensor(np.frombuffer(data, np.uint8, end - offset, start + offset), kind, dims)
               for (name, dims, kind, offset), end in zip(entries, ends, strict=True)}
    return Gguf(metadata, tensors)
