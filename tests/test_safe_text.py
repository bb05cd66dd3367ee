"""No character that a terminal obeys or hides comes through, whatever the text."""

from __future__ import annotations

import random
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledlocal.safe_text import safe_line, safe_text

# Format characters that are drawn (prepended marks of scripts, hieroglyph joiners): not hidden, not obeyed.
SHOWN_FORMAT = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440)}


def unsafe(text: str) -> set[str]:
    """By Unicode's own categories, independent of the ranges in the code."""
    return {c for c in text if c not in "\n\t" and ord(c) not in SHOWN_FORMAT
            and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs")}


@pytest.mark.parametrize(("raw", "shown"), [
    ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
    ("\x1b[2J", "␛[2J"),
    ("\x9b31m\x7f\r\b\0", "<U+009B>31m␡␍␈␀"),
    ("a\u202eb\u2066c\u2028d\u200be\ufefff\U000e0041", "a<U+202E>b<U+2066>c<U+2028>d<U+200B>e<U+FEFF>f<U+E0041>"),
    ("x\u00ad\u034f\u3164\U000e0100\ufe00", "x<U+00AD><U+034F><U+3164><U+E0100><U+FE00>"),
    ("\ud800", "<U+D800>"),
    ("tab\tline\nZürich 東京 🙂 ❤️ é [red]arr[i][/]", "tab\tline\nZürich 東京 🙂 ❤️ é [red]arr[i][/]"),
])
def test_forms(raw: str, shown: str) -> None:
    assert safe_text(raw) == shown


def test_every_character() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    assert unsafe(everything)
    assert not unsafe(safe_text(everything))


@given(st.text(st.characters()), st.text(st.characters()))
def test_pieces_come_out_as_the_whole(a: str, b: str) -> None:
    whole = safe_text(a + b)
    assert safe_text(a) + safe_text(b) == whole
    assert safe_text(whole) == whole
    assert not unsafe(whole)


def test_100_000_random_strings() -> None:
    draw = random.Random(5)
    pool = ["\x1b", "\x9b", "\x9d", "\r", "\u202e", "\u2066", "\u200d", "[31m", "]0;x\x07", "abc", "é", "\n", "🙂"]
    for _ in range(100_000):
        shown = safe_text("".join(draw.choices(pool, k=6)))
        assert "\x1b" not in shown and "\x9b" not in shown and "\x9d" not in shown and "\r" not in shown
        assert "\u202e" not in shown and "\u2066" not in shown and "\u200d" not in shown and "\x07" not in shown


def test_one_line() -> None:
    assert safe_line(" a\n\tb\x1b \r\n c ") == "a b␛ c"
