"""Incremental text and stop strings, against oracles that see the whole text at once."""

from __future__ import annotations

from itertools import pairwise
from typing import AnyStr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledlocal.runtime.text import StopStrings, TextStream

CUTS = st.lists(st.integers(0, 60), max_size=12)


def parts_of(whole: AnyStr, cuts: list[int]) -> list[AnyStr]:
    """The whole, cut at some places."""
    places = [0, *sorted(min(c, len(whole)) for c in cuts), len(whole)]
    return [whole[a:b] for a, b in pairwise(places)]


def test_characters_appear_with_their_last_byte() -> None:
    stream = TextStream()
    assert [stream.push(bytes([b])) for b in "é€😀".encode()] == ["", "é", "", "", "€", "", "", "", "😀"]
    assert stream.flush() == ""


@pytest.mark.parametrize(("data", "text"), [
    (b"\xff", "\ufffd"), (b"a\xc3b", "a\ufffdb"), (b"\xe2\x82(", "\ufffd("), (b"\xe2\x82\xe2\x82\xac", "\ufffd€"),
    (b"\xf0\x9f\x98", "\ufffd"), (b"\xc0\x80", "\ufffd\ufffd"), (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
])
def test_invalid_bytes_swallow_nothing(data: bytes, text: str) -> None:
    stream = TextStream()
    assert "".join(stream.push(bytes([b])) for b in data) + stream.flush() == text


@given(st.one_of(st.binary(max_size=60), st.text(max_size=30).map(str.encode)), CUTS)
def test_any_cut_gives_the_text_of_the_whole(data: bytes, cuts: list[int]) -> None:
    stream = TextStream()
    given_out = ""
    for part in parts_of(data, cuts):
        given_out += stream.push(part)
        assert data.decode("utf-8", "replace").startswith(given_out)
    assert given_out + stream.flush() == data.decode("utf-8", "replace")


def naive(text: str, stops: list[str]) -> tuple[str, str | None]:
    """Read character by character; at the first place where a stop string ends, cut the longest one off."""
    for end in range(len(text) + 1):
        if ending := [s for s in stops if text[:end].endswith(s)]:
            longest = max(ending, key=len)
            return text[:end - len(longest)], longest
    return text, None


@given(st.text("abc", max_size=40), st.lists(st.text("abc", min_size=1, max_size=5), max_size=4), CUTS)
def test_stop_strings_like_the_oracle(text: str, stops: list[str], cuts: list[int]) -> None:
    expected, matched = naive(text, stops)
    stopper = StopStrings(stops)
    given_out = ""
    for part in parts_of(text, cuts):
        given_out += stopper.push(part)
        assert expected.startswith(given_out)
    assert given_out + stopper.flush() == expected
    assert stopper.matched == matched


def test_stop_strings_by_hand() -> None:
    stopper = StopStrings(["END", "NOW!"])
    assert [stopper.push(t) for t in ("x E", "N", "E", "ND tail", "more")] == ["x ", "", "EN", "", ""]
    assert (stopper.matched, stopper.flush()) == ("END", "")


def test_only_what_may_begin_a_stop_string_is_held_back() -> None:
    stopper = StopStrings(["\n\nQ:"])
    assert stopper.push("answer\n") == "answer"
    assert stopper.push("\n") == ""
    assert stopper.push("\n") == "\n"
    assert stopper.push("\nA") == "\n\n\nA"
    assert stopper.push("\n\nQ") == ""
    assert stopper.flush() == "\n\nQ"
    assert stopper.matched is None


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        StopStrings(["a", ""])
