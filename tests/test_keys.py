"""What was typed while nobody was asked, as the line editor takes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledlocal.keys import Typed
from ledlocal.line_editor import _keys_of, _text


@pytest.mark.parametrize("data, text", [
    (b"one\ntwo\rdraft", "one\ntwo\ndraft"),
    (b"\n", "\n"),
    (b"abc\x7f\x08d", "ad"),
    (b"a\x1b\rb", "a\nb"),  # Alt-Enter
    (b"a\x1b[Ab\x1bOPc\x1b[1;5Dd", "abcd"),  # arrows and F keys
    ("käse\n🙂".encode(), "käse\n🙂"),
    (b"a\tb\x01c\xff", "abc"),
])
def test_what_is_held_becomes_a_draft(data: bytes, text: str) -> None:
    assert _text(_keys_of(data)) == text


@given(st.lists(st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1), max_size=5))
def test_plain_text_comes_back(texts: list[str]) -> None:
    assert _text(_keys_of("\n".join(texts).encode())) == "\n".join(texts)


def test_it_is_taken_once() -> None:
    typed = Typed()
    typed.add(b"a")
    typed.add(b"b")
    assert (typed.take(), typed.take()) == (b"ab", b"")
