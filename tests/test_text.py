"""Text out of tokens: whole characters, stop strings and thinking markers, against naive oracles."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledlocal.engine.transcript import Transcript
from ledlocal.runtime.text import StopStrings, TextStream
from ledlocal.values.events import Phase

THINKING: Phase = "thinking"
ANSWER: Phase = "answer"
Cuts = list[int]

CUTS = st.lists(st.integers(0, 60), max_size=12)
STOPS = st.lists(st.text("abé", min_size=1, max_size=4), max_size=4)
BROKEN = st.one_of(st.binary(max_size=24), st.lists(st.sampled_from(
    [b"a", "é".encode(), "你".encode(), "👍".encode(), b"\xf0\x9f", b"\xe4\xbd", b"\x80", b"\xff", b"\xed\xa0\x80",
     b"\0"]), max_size=8).map(b"".join))


def places(length: int, cuts: Cuts) -> list[tuple[int, int]]:
    """Pieces of something of this length: empty ones too."""
    return list(pairwise([0, *sorted(min(cut, length) for cut in cuts), length]))


def first_match(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The text before the stop string that is complete first, letter by letter; the longest of those that end there."""
    for end in range(len(text) + 1):
        here = [stop for stop in stops if text[:end].endswith(stop)]
        if here:
            stop = max(here, key=len)
            return text[:end - len(stop)], stop
    return text, None


def certain(text: str, stops: list[str]) -> str:
    """The text without its longest end that may be the beginning of a stop string."""
    for start in range(len(text) + 1):
        if any(stop.startswith(text[start:]) for stop in stops):
            return text[:start]
    return text


@given(st.text(max_size=20), CUTS)
@example("👍🏽 你", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
def test_characters_come_whole(text: str, cuts: Cuts) -> None:
    data = text.encode()
    stream, out = TextStream(), ""
    for start, end in places(len(data), cuts):
        out += stream.push(data[start:end])
        assert out == data[:end].decode("utf-8", "ignore")  # all characters that are complete, and no part of one
    assert out + stream.flush() == text


@given(BROKEN, CUTS)
@example(b"\xe4\xbda", [1, 2])
def test_bytes_that_are_no_text_become_the_replacement_character(data: bytes, cuts: Cuts) -> None:
    stream = TextStream()
    out = "".join(stream.push(data[start:end]) for start, end in places(len(data), cuts))
    assert out + stream.flush() == data.decode("utf-8", "replace")


def test_a_character_over_four_tokens() -> None:
    stream = TextStream()
    assert [stream.push(bytes([byte])) for byte in "👍".encode()] == ["", "", "", "👍"]
    assert [stream.push(data) for data in (b"\xe4\xbd", b"a\xff", b"\xf0\x9f")] == ["", "\ufffda\ufffd", ""]
    assert stream.flush() == "\ufffd"
    assert stream.flush() == ""


@given(st.text("abé", max_size=30), STOPS, CUTS)
@example("abcd", ["abcd", "bc"], [3])
@example("aab", ["ab", "b"], [1, 2])
def test_the_stop_string_complete_first_ends_the_text(text: str, stops: list[str], cuts: Cuts) -> None:
    stop, out = StopStrings(stops), ""
    for start, end in places(len(text), cuts):
        out += stop.push(text[start:end])
        before, matched = first_match(text[:end], stops)
        assert stop.matched == matched
        assert out == (before if matched else certain(text[:end], stops))  # all that is certain, and no more
    before, _ = first_match(text, stops)
    assert out + stop.flush() == before
    assert stop.flush() == ""


def test_stop_strings_by_hand() -> None:
    stop = StopStrings(["</s>", "STOP now"])
    assert [stop.push(text) for text in ("a ST", "OP it", " <", "/s", "> b", "c")] == ["a ", "STOP it", " ", "", "", ""]
    assert stop.matched == "</s>"
    assert stop.flush() == ""
    stop = StopStrings(["STOP"])
    assert stop.push("no STO") == "no "
    assert stop.flush() == "STO"
    assert stop.matched is None


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        StopStrings(["a", ""])


def test_markers_are_left_out() -> None:
    transcript = Transcript([])
    assert transcript.push(b"<", ANSWER, 0, 1) == ""
    assert transcript.push(b"think", ANSWER, 0, 2) == ""
    assert transcript.push(b">", ANSWER, 3, 0) == ""
    assert transcript.push(b"\nhm", THINKING, 0, 0) == "\nhm"
    assert transcript.push(b" ok\n", THINKING, 0, 0) == " ok\n"
    assert transcript.push(b"</think>", THINKING, 1, 0) == ""
    assert transcript.push(b"\n\nYes", ANSWER, 0, 0) == "\n\nYes"
    assert transcript.close() == ""
    assert transcript.text(THINKING) == "hm ok"
    assert transcript.text(ANSWER) == "Yes"


def test_text_waits_while_it_may_become_a_marker() -> None:
    transcript = Transcript([])
    assert transcript.push(b"a", THINKING, 0, 0) == "a"
    assert transcript.push(b"<", THINKING, 0, 1) == ""
    assert transcript.push(b"/", THINKING, 0, 2) == ""
    assert transcript.push(b"<", THINKING, 0, 1) == "</"  # no marker, but a new one may begin
    assert transcript.push(b"b", THINKING, 0, 0) == "<b"
    assert transcript.push(b"<", THINKING, 0, 1) == ""
    assert transcript.text(THINKING) == "a</<b"
    assert transcript.close() == "<"
    assert transcript.text(THINKING) == "a</<b<"


def test_text_before_a_marker_in_the_same_wait() -> None:
    transcript = Transcript([])
    assert transcript.push(b"x", THINKING, 0, 1) == ""
    assert transcript.push(b"y", THINKING, 0, 2) == ""
    assert transcript.push(b"z", THINKING, 2, 0) == "x"


def test_a_character_does_not_cross_phases() -> None:
    transcript = Transcript([])
    first, last = "你".encode()[:2], "你".encode()[2:]
    assert transcript.push(first, THINKING, 0, 0) == ""
    assert transcript.push(last + b"a", ANSWER, 0, 0) == "\ufffd\ufffda"
    assert transcript.push(first, ANSWER, 0, 0) == ""
    assert transcript.push(last, ANSWER, 0, 0) == "你"
    assert transcript.text(THINKING) == "\ufffd"
    assert transcript.text(ANSWER) == "\ufffda你"


def test_a_stop_string_stops_the_answer_only() -> None:
    transcript = Transcript(["END"])
    assert transcript.push(b"not the END", THINKING, 0, 0) == "not the END"
    assert not transcript.stopped
    assert transcript.push(b"a E", ANSWER, 0, 0) == "a "
    assert transcript.push(b"NE", ANSWER, 0, 0) == "EN"
    assert not transcript.stopped
    assert transcript.push(b"ND b", ANSWER, 0, 0) == ""
    assert transcript.stopped
    assert transcript.push(b" c", ANSWER, 0, 0) == ""
    assert transcript.close() == ""
    assert transcript.text(THINKING) == "not the END"
    assert transcript.text(ANSWER) == "a EN"


def test_a_stop_string_does_not_cross_phases() -> None:
    transcript = Transcript(["END"])
    assert transcript.push(b"a EN", ANSWER, 0, 0) == "a "
    assert transcript.push(b"t", THINKING, 0, 0) == "ENt"
    assert transcript.push(b"D", ANSWER, 0, 0) == "D"
    assert not transcript.stopped
    assert transcript.push(b" E", ANSWER, 0, 0) == " "
    assert transcript.close() == "E"
    assert transcript.text(ANSWER) == "a END E"


@given(BROKEN, st.lists(st.sampled_from(["a", "é", "你a", "\ufffd", "aa", "\0"]), max_size=3), CUTS,
       st.lists(st.integers(0, 3), min_size=14, max_size=14))
def test_an_answer_does_not_depend_on_its_tokens(data: bytes, stops: list[str], cuts: Cuts, waits: list[int]) -> None:
    transcript, out, pending = Transcript(stops), "", 0
    for (start, end), wait in zip(places(len(data), cuts), waits, strict=False):
        pending = min(wait, pending + 1)  # a token can make at most itself wait
        out += transcript.push(data[start:end], ANSWER, 0, pending)
    out += transcript.close()
    expected, matched = first_match(data.decode("utf-8", "replace"), stops)
    assert out == expected
    assert transcript.text(ANSWER) == expected.strip()
    assert transcript.stopped == (matched is not None)
