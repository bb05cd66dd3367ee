"""The wire between parent and worker: everything the engine says comes back equal, everything else is refused."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ledlocal.values import events
from ledlocal.values.errors import BadInput
from ledlocal.values.events import Event
from ledlocal.values.params import Detail, EngineOptions, Led, Message, Request, Sampling
from ledlocal.worker.protocol import (
    MAX_FRAME,
    AnswerNow,
    Cancel,
    Command,
    FrameReader,
    Generate,
    Load,
    ProtocolError,
    Watch,
    decoder,
    encode,
)

INT = st.integers(-(2**63), 2**64 - 1)
SMALL = st.floats(0, 1)


def values(tp: Any) -> st.SearchStrategy[Any]:
    """Any value of a type without rules of its own."""
    origin, arguments = get_origin(tp), get_args(tp)
    if isinstance(tp, type) and is_dataclass(tp):
        hints = get_type_hints(tp)
        return st.builds(tp, **{f.name: values(hints[f.name]) for f in fields(tp)})
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=4).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, arguments))
    if origin is dict:
        return st.dictionaries(st.text(), values(arguments[1]), max_size=3)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, UnionType):
        return st.one_of(*map(values, arguments))
    return {int: INT, str: st.text(), bool: st.booleans(), NoneType: st.none(),
            float: st.floats(allow_nan=False, allow_infinity=False)}[tp]


LED = st.builds(Led, d=st.integers(2, 512), k=st.integers(1, 1024), layers=st.sampled_from(["reference", "paper"]),
                norm=st.booleans(), scope=st.sampled_from(["thinking", "all"]), exploit=st.booleans())
SAMPLING = st.builds(Sampling, method=st.sampled_from(["standard", "led", "control"]),
                     temperature=st.just(0.0) | st.floats(0.01, 1),
                     top_k=st.integers(0, 2**31 - 1), top_p=SMALL, min_p=SMALL,
                     order=st.sampled_from(["llama", "paper"]), led=LED)
PROMPTS = st.one_of(
    st.fixed_dictionaries({"messages": st.lists(values(Message), max_size=3).map(tuple)}),
    st.fixed_dictionaries({"prompt": st.text()}),
    st.fixed_dictionaries({"prompt_ids": st.lists(INT, max_size=5).map(tuple)}))
REQUEST = st.builds(
    lambda prompt, rest: Request(**prompt, **rest), PROMPTS, st.fixed_dictionaries({
        "thinking": SAMPLING, "answer": SAMPLING, "n": st.integers(1, 65536), "seed": st.integers(0, 2**64 - 1),
        "problem": st.text(), "max_tokens": st.none() | st.integers(1, 2**31 - 1), "reasoning_budget": st.none(),
        "reasoning": st.sampled_from(["on", "off", "auto"]), "detail": st.sampled_from(["forks", "candidates", "all"]),
        "stop": st.lists(st.text(min_size=1), max_size=3).map(tuple), "ignore_eos": st.booleans()}))
OPTIONS = st.builds(EngineOptions, model=st.text(), context=st.none() | st.integers(16, 2**24),
                    tap=st.sampled_from(["auto", "plugin", "reference", "none"]),
                    flash_attention=st.sampled_from(["auto", "on", "off"]),
                    cache_type_k=st.sampled_from(["f16", "q8_0"]), reproducible=st.booleans(),
                    chat_template=st.none() | st.text(), think_tags=st.none() | st.tuples(st.text(), st.text()))
COMMAND = st.one_of(st.builds(Load, OPTIONS), st.builds(Generate, INT, REQUEST), st.builds(Cancel, INT),
                    st.builds(AnswerNow, INT), st.builds(Watch, INT, values(Detail)))
EVENT = values(Event)


def conforms(value: Any, tp: Any) -> bool:
    """Whether a value is exactly of a type, all the way down."""
    origin, arguments = get_origin(tp), get_args(tp)
    if is_dataclass(tp):
        hints = get_type_hints(tp)
        return type(value) is tp and all(conforms(getattr(value, f.name), hints[f.name]) for f in fields(tp))
    if origin in (Union, UnionType):
        return any(conforms(value, member) for member in arguments)
    if origin is Literal:
        return type(value) is str and value in arguments
    if origin is dict:
        return type(value) is dict and all(type(k) is str and conforms(v, arguments[1]) for k, v in value.items())
    if origin is tuple:
        if type(value) is not tuple:
            return False
        members = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        return len(members) == len(value) and all(map(conforms, value, members))
    return type(value) is tp and (tp is not float or math.isfinite(value))


def frame(body: bytes) -> bytes:
    return struct.pack("<I", len(body)) + body


def read(body: object, expected: Any = Event) -> Any:
    """Decode one JSON value, or raw bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    [message] = FrameReader(expected).feed(frame(raw))
    return message


def test_every_event_is_tried() -> None:
    made = {name for name, value in vars(events).items() if is_dataclass(value)}
    parts = {"ModelFacts", "Candidates", "Lens", "Exploration"}
    assert {member.__name__ for member in get_args(Event)} == made - parts


@given(EVENT)
def test_events_come_back_equal_and_typed(event: Any) -> None:
    [back] = FrameReader(Event).feed(encode(event))
    assert back == event
    assert conforms(back, Event)


@given(COMMAND)
def test_commands_come_back_equal_and_typed(command: Any) -> None:
    [back] = FrameReader(Command).feed(encode(command))
    assert back == command
    assert conforms(back, Command)


@given(st.lists(COMMAND, max_size=5), st.data())
def test_any_cutting_of_the_stream_gives_the_same_messages(commands: list[Any], data: st.DataObject) -> None:
    stream = b"".join(map(encode, commands))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = FrameReader(Command)
    got = [m for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) for m in reader.feed(stream[a:b])]
    assert got == commands


JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.just([]), st.just({}),
                 st.just(10**400), st.just({"type": "Token"}), st.just({"type": []}))


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, child in inside for place in places(child, (*path, key)))]


@given(st.one_of(EVENT, COMMAND), JUNK, st.data())
def test_a_message_with_one_part_replaced_is_refused_or_still_well_typed(
        message: Any, junk: Any, data: st.DataObject) -> None:
    tree = json.loads(encode(message)[4:])
    *path, last = data.draw(st.sampled_from(places({"root": tree})[1:]))
    holder: Any = {"root": tree}
    top = holder
    for key in path:
        holder = holder[key]
    assume(holder[last] != junk or type(holder[last]) is not type(junk))
    holder[last] = junk
    expected = Command if isinstance(message, get_args(Command)) else Event
    try:
        back = read(top["root"], expected)
    except ProtocolError:
        return
    assert conforms(back, expected)
    assert back != message or type(junk) is int  # 1 and 1.0 are the same float.


@given(st.one_of(EVENT, COMMAND), st.data())
def test_missing_and_unknown_fields_are_refused(message: Any, data: st.DataObject) -> None:
    expected = Command if isinstance(message, get_args(Command)) else Event
    tree = json.loads(encode(message)[4:])
    key = data.draw(st.sampled_from(sorted(tree)))
    with pytest.raises(ProtocolError):
        read({k: v for k, v in tree.items() if k != key}, expected)
    with pytest.raises(ProtocolError):
        read({**tree, "more": 1}, expected)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_never_anything_else(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(body)


NOTICE = {"type": "Notice", "request": 1, "text": "a"}
STARTED = {"type": "Started", "request": 1, "sample": 0, "prompt_ids": [1], "reused": 0, "prefill_s": 0.5}


def test_hand_made_messages_are_taken() -> None:
    assert read(NOTICE) == events.Notice(1, "a")
    assert read({**STARTED, "prefill_s": 1}) == events.Started(1, 0, (1,), 0, 1.0)
    assert type(read({**STARTED, "prefill_s": 1}).prefill_s) is float


@pytest.mark.parametrize("bad", [
    {**NOTICE, "request": True}, {**NOTICE, "request": 1.0}, {**NOTICE, "request": "1"},
    {**NOTICE, "request": 2**64}, {**NOTICE, "request": -(2**63) - 1}, {**NOTICE, "text": None},
    {**NOTICE, "text": True}, {**NOTICE, "text": 1}, {**NOTICE, "text": float("nan")},
    {**NOTICE, "type": "Cancel"}, {**NOTICE, "type": "Event"}, {**NOTICE, "type": None}, [NOTICE], "Notice", None,
    {**STARTED, "prompt_ids": [1.5]}, {**STARTED, "prompt_ids": [[1]]}, {**STARTED, "prompt_ids": {"0": 1}},
    {**STARTED, "prompt_ids": "12"}, {**STARTED, "prefill_s": True}, {**STARTED, "prefill_s": 10**400},
    {**STARTED, "prefill_s": float("nan")}, {**STARTED, "prefill_s": float("inf")}, {**STARTED, "prefill_s": None},
])
def test_hand_made_wrong_messages_are_refused(bad: object) -> None:
    with pytest.raises(ProtocolError):
        read(bad)


@pytest.mark.parametrize("bad", [
    b"", b"{", b"\xff\xfe", b'{"type": "Notice", "request": 1, "text": "\xff"}', b"[" * 100_000, b"9" * 10_000,
    json.dumps(STARTED).replace("0.5", "1e999").encode(),
])
def test_bodies_that_are_not_json_are_refused(bad: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(bad)


def test_values_that_the_parameters_refuse_are_refused() -> None:
    tree = json.loads(encode(Generate(1, Request(prompt="a")))[4:])
    tree["request"]["n"] = 0
    with pytest.raises(ProtocolError, match="n must be a number from 1"):
        read(tree, Command)


@pytest.mark.parametrize("bad", [0, 1, "yes", None, []])
def test_a_switch_is_true_or_false(bad: object) -> None:
    tree = json.loads(encode(Load(EngineOptions("m")))[4:])
    tree["options"]["reproducible"] = bad
    with pytest.raises(ProtocolError, match="is not bool"):
        read(tree, Command)


def test_a_length_over_the_limit_is_refused_before_the_body_comes() -> None:
    with pytest.raises(ProtocolError, match="over the limit"):
        FrameReader(Event).feed(struct.pack("<I", MAX_FRAME + 1))
    assert FrameReader(Event).feed(struct.pack("<I", MAX_FRAME)) == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_not_sent(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(events.Started(1, 0, (), 0, number))


def test_what_is_no_dataclass_is_not_sent() -> None:
    with pytest.raises(TypeError):
        encode(events.Notice(1, b"bytes"))  # type: ignore[arg-type]


def test_a_message_over_the_limit_is_not_sent() -> None:
    with pytest.raises(BadInput, match="over the limit of 64 MiB"):
        encode(events.Notice(1, "x" * MAX_FRAME))


def test_file_names_that_are_not_unicode_pass() -> None:
    name = b"\xff.gguf".decode("utf-8", "surrogateescape")
    assert read(encode(Load(EngineOptions(name)))[4:], Command).options.model == name


@pytest.mark.parametrize("tp", [bytes, list[int], dict[int, int], int | str, object])
def test_types_without_a_place_on_the_wire_are_a_mistake_of_the_programmer(tp: Any) -> None:
    with pytest.raises(TypeError):
        decoder(tp)
