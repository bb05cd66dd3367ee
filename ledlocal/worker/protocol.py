"""Frames between parent and worker: a 4-byte little-endian length, then one dataclass as JSON with a `type`.

Decoding is strict and typed: what the dataclasses' annotations do not allow is refused, since neither side trusts the
other to be whole (memory errors of the library can reach anything the worker sends).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from ledlocal.values.errors import BadInput
from ledlocal.values.params import Detail, EngineOptions, Request

MAX_FRAME = 64 * 2**20
"""Bytes of JSON in one frame."""

_HEADER = struct.Struct("<I")

Decoder = Callable[[object], Any]


class ProtocolError(ValueError):
    """The other side sent something it must not send."""


@dataclass(frozen=True, slots=True)
class Load:
    """The first command: load a model. Answered by Loaded, or by Failed for request 0."""

    options: EngineOptions


@dataclass(frozen=True, slots=True)
class Generate:
    """Serve a request; its events carry this number, which the parent chose (1 or more, never used again)."""

    number: int
    request: Request


@dataclass(frozen=True, slots=True)
class Cancel:
    """End a request soon, or one sample of it; what is not open is ignored."""

    number: int
    sample: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerNow:
    """End a request's thinking; one that is not open is ignored."""

    number: int


@dataclass(frozen=True, slots=True)
class Watch:
    """From the next token on a request's tokens carry this much; one that is not open is ignored."""

    number: int
    detail: Detail


Command = Load | Generate | Cancel | AnswerNow | Watch


def _as_object(value: Any) -> dict[str, Any]:
    """A dataclass instance as a JSON object."""
    return {"type": type(value).__name__} | {f.name: getattr(value, f.name) for f in fields(value)}


_encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_as_object)


def encode(message: object) -> bytes:
    """A dataclass instance as one frame.

    Raises BadInput over the size limit, ValueError for a number that is not finite, TypeError for a foreign type.
    """
    body = _encoder.encode(message).encode("ascii")
    if len(body) > MAX_FRAME:
        raise BadInput(f"a message of {len(body) / 2**20:.0f} MiB is over the limit of {MAX_FRAME // 2**20} MiB")
    return _HEADER.pack(len(body)) + body


class FrameReader:
    """Cuts a byte stream into frames and decodes them as `expected`, a dataclass or a union of dataclasses."""

    def __init__(self, expected: Any) -> None:
        self._decode = decoder(expected)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The messages completed by `data`. Raises ProtocolError."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer)
            if length > MAX_FRAME:
                raise ProtocolError(f"a frame of {length} bytes is over the limit")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                break
            messages.append(self._decode(_parse(bytes(self._buffer[_HEADER.size:end]))))
            del self._buffer[:end]
        return messages


def _parse(body: bytes) -> object:
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a frame is not JSON: {error}") from error


def _refuse(value: object, expected: object) -> NoReturn:
    raise ProtocolError(f"{repr(value)[:80]} is not {expected}")


@cache
def decoder(expected: Any) -> Decoder:
    """A function from parsed JSON to a value of the type `expected`; it raises ProtocolError.

    Raises TypeError for a type that has no place on the wire.
    """
    origin, arguments = get_origin(expected), get_args(expected)
    if _is_record(expected):
        return _dataclass_decoder(expected)
    if origin in (Union, UnionType):
        return _union_decoder(arguments)
    if origin is tuple:
        return _tuple_decoder(arguments)
    if origin is dict and arguments[0] is str:
        return _dict_decoder(decoder(arguments[1]))
    if origin is Literal:
        return lambda value: value if value in arguments else _refuse(value, f"one of {arguments}")
    if expected is float:
        return _decode_float
    if expected is int:
        return _decode_int
    if expected in (bool, str):
        return lambda value: value if type(value) is expected else _refuse(value, expected.__name__)
    raise TypeError(f"{expected} has no place on the wire")


def _is_record(expected: Any) -> bool:
    return isinstance(expected, type) and is_dataclass(expected)


def _decode_int(value: object) -> int:
    if type(value) is int and -(2**63) <= value < 2**64:
        return value
    _refuse(value, "an integer of 64 bits")


def _decode_float(value: object) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int:
        return float(_decode_int(value))
    _refuse(value, "a finite number")


def _dataclass_decoder(cls: Any) -> Decoder:
    hints = get_type_hints(cls)
    of_field = {f.name: decoder(hints[f.name]) for f in fields(cls)}
    keys = {"type", *of_field}

    def decode(value: object) -> Any:
        if not isinstance(value, dict) or value.get("type") != cls.__name__ or value.keys() != keys:
            _refuse(value, f"a {cls.__name__} with exactly its fields")
        try:
            return cls(**{name: of(value[name]) for name, of in of_field.items()})
        except BadInput as error:
            raise ProtocolError(f"{cls.__name__}: {error}") from error

    return decode


def _union_decoder(members: tuple[Any, ...]) -> Decoder:
    """For any number of dataclasses, told apart by `type`, at most one other type, and None."""
    by_name = {member.__name__: decoder(member) for member in members if _is_record(member)}
    others = [decoder(member) for member in members if not _is_record(member) and member is not NoneType]
    if len(others) > 1 or (others and by_name):
        raise TypeError(f"{members} cannot be told apart on the wire")

    def decode(value: object) -> Any:
        if value is None and NoneType in members:
            return None
        if others:
            return others[0](value)
        name = value.get("type") if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in by_name:
            _refuse(value, f"one of {', '.join(by_name)}")
        return by_name[name](value)

    return decode


def _tuple_decoder(members: tuple[Any, ...]) -> Decoder:
    if len(members) == 2 and members[1] is Ellipsis:
        of = decoder(members[0])
        return lambda value: tuple(map(of, value)) if isinstance(value, list) else _refuse(value, "a list")
    each = [decoder(member) for member in members]

    def decode(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(each):
            _refuse(value, f"a list of {len(each)}")
        return tuple(of(item) for of, item in zip(each, value, strict=True))

    return decode


def _dict_decoder(of: Decoder) -> Decoder:
    def decode(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            _refuse(value, "an object")
        return {key: of(item) for key, item in value.items()}

    return decode
