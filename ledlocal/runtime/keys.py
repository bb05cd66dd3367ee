"""Typed access to a GGUF header's metadata."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from ledlocal.runtime.header import Header
from ledlocal.runtime.scanner import Value, shown
from ledlocal.values.errors import BadInput


class Keys:
    """Typed access to a header's metadata; a value that llama.cpp would not read is refused by name."""

    def __init__(self, header: Header) -> None:
        self.header = header

    def refuse(self, key: str, why: str) -> NoReturn:
        """Raise BadInput about a key."""
        raise BadInput(f"{self.header.path}: {shown(key)} {why}")

    def own(self, key: str) -> str:
        """The full name of an architecture's key."""
        return f"{self.header.architecture}.{key}"

    def get(self, key: str, *kinds: str) -> Value | None:
        """The value, None if absent; refused if it is stored as anything but `kinds`."""
        kind = self.header.kinds.get(key)
        if kind is not None and kind not in kinds:
            self.refuse(key, f"is stored as {kind}, not as {' or '.join(kinds)}")
        return self.header.metadata.get(key)

    def text(self, key: str, default: str | None = None) -> str:
        """A string; refused if absent and without default."""
        value = self.get(key, "str")
        if value is None and default is None:
            self.refuse(key, "is missing")
        return default or "" if value is None else str(value)

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """An integer of the architecture's own, from `low` to `high`; refused if absent and without default."""
        key = self.own(name)
        value = self.get(key, "u32")
        if value is None:
            if default is None:
                self.refuse(key, "is missing")
            return default
        if not isinstance(value, int) or not low <= value <= high:
            self.refuse(key, f"is {value}; it must be from {low} to {high}")
        return value

    def per_layer(self, name: str, layers: int, high: int, default: list[int]) -> list[int]:
        """One integer per layer, from an array or one number for all; each from 0 to `high`."""
        key = self.own(name)
        value = self.get(key, "u32", "[u32]", "[i32]")
        if value is None:
            return default
        numbers = [int(x) for x in value] if isinstance(value, np.ndarray) else [int(str(value))] * layers
        if len(numbers) != layers:
            self.refuse(key, f"has {len(numbers)} values for {layers} layers")
        for number in numbers:
            if not 0 <= number <= high:
                self.refuse(key, f"has the value {number}; it must be from 0 to {high}")
        return numbers
