"""Words on a terminal's lines, against a terminal of a few lines of code."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from ledlocal.wrap import WordWrap


class Terminal:
    """Lines of a given width; a character past the last column is an error."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.lines = [""]
        self.styles: list[str] = []

    def put(self, text: str, style: str) -> None:
        for letter in text:
            if letter == "\n":
                self.lines.append("")
            else:
                self.lines[-1] += letter
                assert wcswidth(self.lines[-1].expandtabs()) < self.columns

    def take_back(self, columns: int) -> None:
        while columns > 0:
            columns -= max(wcswidth(self.lines[-1][-1]), 0)
            self.lines[-1] = self.lines[-1][:-1]
        assert columns == 0


def shown(pieces: list[str], columns: int) -> list[str]:
    terminal = Terminal(columns)
    wrap = WordWrap(terminal.put, terminal.take_back, lambda: columns)
    for piece in pieces:
        wrap.write(piece)
    return terminal.lines


def test_by_hand() -> None:
    assert shown(["one two", " thr", "ee", " four"], 10) == ["one two ", "three ", "four"]
    assert shown(["one", " two", " three"], 9) == ["one two ", "three"]
    assert shown(["a\n\nb c"], 9) == ["a", "", "b c"]
    assert shown(["abcdefghijkl mn"], 6) == ["abcde", "fghij", "kl mn"]
    assert shown(["ab ", "cdefghij"], 6) == ["ab cd", "efghi", "j"]
    assert shown(["日本語 日本"], 8) == ["日本語 ", "日本"]
    assert shown(["x\x1b[2Jy"], 20) == ["x␛[2Jy"]


WORDS = st.lists(st.text("abé日", min_size=1, max_size=7), min_size=1, max_size=20)


@given(WORDS, st.data(), st.integers(9, 30))
def test_no_word_is_broken_however_the_text_comes(words: list[str], data: st.DataObject, columns: int) -> None:
    text = " ".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    lines = shown(pieces, columns)
    if max(map(wcswidth, words)) < columns:
        assert lines == shown([text], columns)
        assert re.split(r"\s+", "\n".join(lines).strip()) == words
        for line, following in pairwise(lines):
            # the next word did not fit
            assert wcswidth(line.rstrip()) + 1 + wcswidth(following.split()[0]) >= columns - 1


def test_tabs_go_to_the_next_multiple_of_eight() -> None:
    assert shown(["\tab ", "cde"], 12) == ["\tab ", "cde"]
    assert shown(["a\tb"], 10) == ["a\tb"]
    assert shown(["a\tb"], 9) == ["a\t", "b"]
