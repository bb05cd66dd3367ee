"""What was typed while nobody was asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledlocal.keys import Typed


def lines_of(data: bytes) -> list[tuple[str, bool]]:
    typed, found = Typed(), []
    typed.add(data)
    while (line := typed.take()) != ("", False):
        found.append(line)
    return found


@pytest.mark.parametrize("data, lines", [
    (b"one\ntwo\rdraft", [("one", True), ("two", True), ("draft", False)]),
    (b"\n", [("", True)]),
    (b"a\nbc\x7f\x7f\x7f\x7fd\n", [("a", True), ("d", True)]),  # Backspace does not reach behind Enter
    (b"a\x1b\rb\n", [("a\nb", True)]),  # Alt-Enter
    (b"a\x1b[Ab\x1bOPc\x1b[1;5Dd\n", [("abcd", True)]),  # arrows and F keys
    ("käse\n🙂".encode(), [("käse", True), ("🙂", False)]),
    (b"a\tb\x01c\xff", [("abc", False)]),
])
def test_lines(data: bytes, lines: list[tuple[str, bool]]) -> None:
    assert lines_of(data) == lines


@given(st.lists(st.text(st.characters(categories=("L", "N", "P", "S"))), max_size=5))
def test_plain_text_comes_back_in_the_order_of_entry(texts: list[str]) -> None:
    assert lines_of("".join(text + "\n" for text in texts).encode()) == [(text, True) for text in texts]
