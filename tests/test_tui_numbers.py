"""What the terminal UI counts and how it draws it, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeEngine, token
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from rich.cells import cell_len
from screens import drive, screen_text, until
from textual.pilot import Pilot

from ledlocal.methods.led import explore
from ledlocal.values.events import Candidates
from ledlocal_tui.app import LedlocalApp
from ledlocal_tui.bars import bar, sparkline
from ledlocal_tui.tally import Tally, mixed_entropy, mixture
from ledlocal_tui.watch import Watch
from ledlocal_tui.widgets.exploration import candidates_of, counts_of, quoted
from ledlocal_tui.widgets.strip import ExplorationStrip
from ledlocal_tui.wrapping import Lines

CANDIDATES = Candidates((7, 8), ("so", " wait"), (12, 10, 9), ((0.6, 0.2), (0.1, 0.3), (0.0, 0.4)), (0.56, 0.68, 0.69))
FORK = replace(token("wait", "thinking", 3, explored=True, changed=True, candidates=CANDIDATES), depth=2, id=8)


def test_a_tally_by_hand() -> None:
    tally = Tally()
    plain = token("a", "thinking", 0)
    for one in (plain, FORK, replace(FORK, changed=False, depth=0), token("b", "answer", 5)):
        tally.add(one)
    assert (tally.tokens, tally.thinking, tally.answer, tally.explored, tally.changed) == (4, 3, 1, 2, 1)
    assert tally.depths == {2: 1, 0: 1} and tally.fork is not None and tally.fork.depth == 0
    assert tally.entropy == [0.5] * 4 and tally.confidence == [0.75] * 4
    assert tally.mixed == [None, 0.69, 0.56, None]
    assert counts_of(tally, 2.0, 2.0, False) == ["answer    2.0 tokens/s · 2 s", "tokens    3 thinking + 1 answer",
                                            "explored  2 · 66.7 %", "changed   1 · 33.3 %"]
    tally.add(replace(FORK, phase="answer"))  # of all tokens, once an answer explores
    tally.answers = True
    assert counts_of(tally, 2.0, 2.0, False)[2:] == ["explored  3 · 60.0 %", "changed   2 · 40.0 %"]
    assert counts_of(Tally(), 0.0, 0.0, True)[2] == "explored  0 · 0.0 %"


@given(st.integers(0, 300), st.integers(1, 60))
def test_columns_hold_the_last_tokens_or_all(count: int, room: int) -> None:
    tally = Tally.of(token("x", "thinking", i) for i in range(count))
    last = [list(range(count))[column] for column in tally.columns(room)]
    assert last == [[i] for i in range(count)][-room:]
    tally.ended = True
    pieces = [list(range(count))[column] for column in tally.columns(room)]
    assert [i for piece in pieces for i in piece] == list(range(count)) and len(pieces) == min(count, room)
    assert not pieces or max(map(len, pieces)) - min(map(len, pieces)) <= 1


def test_a_mixture_is_what_was_drawn_from() -> None:
    """Of (0.6, 0.2) / 0.8, (0.7, 0.5) / 1.2 and (0.7, 0.9) / 1.6 the last one is nearest to a half."""
    assert_allclose(mixture(FORK), (0.7 / 1.6, 0.9 / 1.6), rtol=1e-4)
    assert_allclose(mixture(FORK), explore(np.array([CANDIDATES.posteriors])).distribution[0], rtol=1e-15)
    assert_allclose(mixture(replace(FORK, depth=1)), (0.7 / 1.2, 0.5 / 1.2))
    assert mixed_entropy(FORK) == 0.69
    final = replace(FORK, candidates=replace(CANDIDATES, posteriors=((0.6, 0.2),), entropy=(0.56,)), depth=None)
    assert mixture(final) == () and mixed_entropy(final) is None
    assert [(text, p, mark) for text, p, _, mark in candidates_of(FORK)] == [("so", 0.6, ""), (" wait", 0.2, "◀")]


def test_sparklines_and_bars() -> None:
    assert sparkline([0, 0.5, 1, None, 0.99], 1.0) == "▁▅█ █"
    assert sparkline([0.0, 0.0], 0.0) == "▁▁"
    assert [bar(x, 4) for x in (0, 0.001, 0.5, 1, 2)] == ["", "▏", "██", "████", "████"]


@pytest.mark.parametrize(("text", "shown"), [("so", "so"), (" so", "␣so"), ("\n", "⏎"), ("\x1b[2J", "␛[2J"),
                                             ("abcdefghij", "abcde…"), ("", "")])
def test_tokens_on_one_line(text: str, shown: str) -> None:
    assert quoted(text, 6) == shown


def test_words_of_several_tokens_stay_whole() -> None:
    lines = Lines(20)
    for i, text in enumerate(["So ", "I need the ", "pri", "mes", " below 50.\n\nLet me", " list"]):
        lines.add(text, i)
    assert ["".join(piece.text for piece in line) for line in lines.lines] == [
        "So I need the primes", "below 50.", "", "Let me list"]
    assert [piece.token for piece in lines.lines[0]] == [0, 0, 1, 1, 1, 1, 1, 1, 2, 3]


@given(st.lists(st.text("ab \n漢•", max_size=9), max_size=30), st.integers(2, 12))
def test_no_character_is_lost_and_no_line_is_too_long(texts: list[str], width: int) -> None:
    lines = Lines(width)
    for i, text in enumerate(texts):
        lines.add(text, i)
    shown = [list(line) for line in lines.lines]
    assert all(sum(cell_len(piece.text) for piece in line) <= width for line in shown)
    said = [(piece.token, letter) for line in shown for piece in line for letter in piece.text if letter != " "]
    assert said == [(i, letter) for i, text in enumerate(texts) for letter in text if letter not in " \n"]


def test_a_narrow_pane_has_no_speed_of_the_reply_before() -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        strip = app.chat.query_one(ExplorationStrip)
        strip.tally = Tally.of([FORK])
        strip.show_progress(28.4, "all 20.0 · forks 28.4 tokens/s")
        await until(pilot, lambda: "1 + 0 · all 20.0 · forks 28.4 tokens/s · explored 1" in screen_text(app))
        strip.tally = Tally()
        await until(pilot, lambda: "0 thinking + 0 answer · explored 0" in screen_text(app))
        strip.show_progress(3.0)
        await until(pilot, lambda: "0 thinking + 0 answer · 3/s · explored 0" in screen_text(app))

    drive(script, FakeEngine(), (80, 24))


def test_what_looking_costs() -> None:
    watch = Watch()
    watch.begin("A")
    for i in range(31):
        watch.add(4, i / 10)  # 40 per second; the first ones may be of another way
    assert watch.cost == "" and watch.detail("forks") == "forks"
    watch.every_layer = True
    watch.switch()
    watch.add(9, 3.5)
    watch.add(9, 4.0)
    assert watch.cost == ""  # too few to tell
    watch.add(11, 4.5)
    assert watch.cost == "all 20.0 · forks 40.0 tokens/s" and watch.detail("forks") == "all"
    watch.add(0, 4.6)  # of the answer
    watch.add(50, 4.7)
    assert watch.cost == "all 20.0 · forks 40.0 tokens/s"
    watch.begin("A")
    watch.add(1, 5.0)
    watch.add(60, 7.0)
    assert watch.cost == "all 30.0 · forks 40.0 tokens/s"
    watch.every_layer = False  # between two replies
    watch.begin("A")
    watch.add(1, 8.0)
    watch.add(19, 8.1)
    assert watch.cost == "all 30.0 · forks 40.0 tokens/s"  # until the new ones can tell
    watch.add(41, 9.0)
    assert watch.cost == "all 30.0 · forks 60.0 tokens/s"


def measured(watch: Watch, speed: float, at: float, thinking: int, answer: int = 0) -> float:
    """A reply whose tokens come one by one; when it has ended."""
    watch.begin("A")
    for i in range(thinking + answer):
        watch.add(int(i < thinking), at + i / speed)
    return at + (thinking + answer) / speed


def test_the_speed_of_a_thought_is_not_that_of_its_answer() -> None:
    """The answer comes at the same speed both ways: all of a reply would say that looking costs little."""
    watch = Watch()
    at = measured(watch, 60, 0.0, 200, 100)
    watch.end(300, 2.0)
    watch.every_layer = True
    measured(watch, 20, at, 200, 100)
    watch.end(300, 5.0)
    assert watch.cost == "all 20.0 · forks 60.0 tokens/s"


def test_short_replies_add_up() -> None:
    watch = Watch()
    at = 0.0
    for speed in (200, 100, 200, 100, 100):  # 60 tokens in 0.3 s, 25 tokens in 0.24 s
        assert watch.cost == ""
        watch.every_layer = speed == 100
        at = measured(watch, speed, at, 60 if speed == 200 else 25)
    assert watch.cost == "all 100.0 · forks 200.0 tokens/s"


def test_a_short_reply_is_told_of_at_its_end() -> None:
    """And what came both ways in one reply tells neither."""
    watch = Watch()
    at = measured(watch, 1000, 0.0, 60)
    watch.end(60, 0.1)
    watch.every_layer = True
    watch.switch()  # after the last token
    at = measured(watch, 1000, at, 30)
    watch.end(19, 0.1)
    assert watch.cost == ""
    watch.end(30, 0.2)
    assert watch.cost == "all 150.0 · forks 600.0 tokens/s"
    at = measured(watch, 1000, at, 30)
    watch.every_layer = False
    watch.switch()
    watch.end(40, 0.1)
    assert watch.cost == "all 150.0 · forks 600.0 tokens/s"
    measured(watch, 1000, at, 30)
    assert watch.cost == "all 150.0 · forks 600.0 tokens/s"  # many replies later, too


def test_another_model_or_settings_are_not_compared() -> None:
    watch = Watch()
    measured(watch, 60, 0.0, 200)
    watch.every_layer = True
    measured(watch, 20, 9.0, 200)
    assert watch.cost == "all 20.0 · forks 60.0 tokens/s"
    watch.begin("B")
    assert watch.cost == ""
