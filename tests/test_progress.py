"""How a run is shown while it goes, on a clock that the test moves."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from evaluations import LED, STANDARD, problems, sample, score
from fake_engine import FakeTerminal

from ledlocal.evals.arm import Arm
from ledlocal.evals.live_table import PLAIN_EVERY_S, PLAIN_FIRST_S, LiveTable
from ledlocal.evals.plan import Plan
from ledlocal.evals.progress import duration
from ledlocal.evals.run_folder import Key
from ledlocal.terminal import Console

PLAN = Plan(("t",), (LED, STANDARD), 2)


def no_cancel(_key: Key) -> bool:
    """A table never asks."""
    return False


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Shown:
    """Progress over three problems with two samples each, of two methods."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None = None, quiet: bool = False) -> None:
        monkeypatch.setenv("TERM", "xterm")
        self.err = stream or io.StringIO()
        monkeypatch.setattr("sys.stderr", self.err)
        self.clock = Clock()
        self.progress = LiveTable(PLAN, {"t": problems(3)}, Console(quiet=quiet), self.clock)

    def done(self, problem: str, i: int, correct: bool | None = None, tokens: int = 12, cut: bool = False,
             arm: Arm = LED) -> None:
        """A sample, 10 tokens of it thinking, and its score unless there is none yet."""
        one = replace(sample(problem, i, arm, "length" if cut else "stop"), answer_tokens=tokens - 10)
        self.progress.sampled(one)
        self.progress.scored(score(problem, i, correct, None, arm))

    def beside(self, *problems: str) -> None:
        """The other method has these, none right."""
        for problem in problems:
            for i in range(2):
                self.done(problem, i, False, arm=STANDARD)

    def row(self, n: int = 0) -> dict[str, str]:
        head, *rows = self.progress.rows()
        return dict(zip(head, rows[n], strict=True))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    return Shown(monkeypatch)


def test_a_line_before_anything_is_done(shown: Shown) -> None:
    want = {"task": "t", "method": "led", "T": "0.6", "done": "0/6", "pass@1": "-", "pass@2": "-", "thinking": "-",
            "cut": "0", "tokens/s": "-", "left": "-"}
    assert shown.row() == want
    shown.progress.begin(no_cancel)
    assert shown.row() == want
    shown.clock.now += 10
    assert shown.row() == want


def test_numbers_of_a_line_by_hand(shown: Shown) -> None:
    """Problem 0: one of two right; problem 1: one wrong and cut, one without a grade; problem 2: one. 5 of 6 done."""
    shown.beside("0", "1", "2")
    shown.progress.begin(no_cancel)
    shown.done("0", 0, True, tokens=20)
    shown.done("0", 1, False, tokens=30)
    shown.done("1", 0, False, tokens=10, cut=True)
    shown.done("1", 1, None, tokens=20)
    shown.done("2", 0, True, tokens=20)
    shown.clock.now += 8
    assert shown.row() == {
        "task": "t", "method": "led", "T": "0.6", "done": "5/6",
        "pass@1": "25.0 %",  # (1/2 + 0) / 2: the third problem lacks a sample, and short ones come first
        "pass@2": "50.0 %",
        "thinking": "10", "cut": "1",
        "tokens/s": "12",  # 100 in 8 s: 12.5, and Python rounds to even
        "left": "2 s"}  # 1.6 s each, one to come
    assert shown.row(1)["done"] == "6/6" and shown.row(1)["left"] == ""
    assert (shown.row(1)["pass@1"], shown.row(1)["pass@2"]) == ("0.0 %", "0.0 %")


def test_methods_are_compared_on_the_problems_that_all_of_them_have(shown: Shown) -> None:
    """led has two problems, one of them hard; standard only the easy one yet."""
    shown.progress.begin(no_cancel)
    for i in range(2):
        shown.done("0", i, True)
        shown.done("1", i, False)
    assert shown.row()["pass@1"] == "-"
    for i in range(2):
        shown.done("0", i, True, arm=STANDARD)
    assert (shown.row()["pass@1"], shown.row(1)["pass@1"]) == ("100.0 %", "100.0 %")
    shown.beside("1")
    assert (shown.row()["pass@1"], shown.row(1)["pass@1"]) == ("50.0 %", "50.0 %")


def test_samples_of_earlier_sessions_do_not_count_for_speed(shown: Shown) -> None:
    shown.beside("0", "1")
    for i in range(2):
        shown.done("0", i, True, tokens=1000)
    shown.clock.now += 500
    shown.progress.begin(no_cancel)
    shown.clock.now += 10
    row = shown.row()
    assert (row["done"], row["tokens/s"], row["left"], row["pass@1"]) == ("2/6", "-", "-", "100.0 %")
    shown.done("1", 0, False, tokens=50)
    row = shown.row()
    assert (row["done"], row["tokens/s"], row["left"]) == ("3/6", "5", "30 s")  # 50 in 10 s, three to come
    assert (row["pass@1"], row["thinking"]) == ("100.0 %", "10")
    shown.done("1", 1, False, tokens=50)
    assert shown.row()["pass@1"] == "50.0 %"


def test_a_second_line_that_waited_for_the_first_is_not_charged_for_it(shown: Shown) -> None:
    """Six samples of led in ten hours; then standard has one of six after six minutes: half an hour is left."""
    shown.progress.begin(no_cancel)
    for problem in "012":
        for i in range(2):
            shown.clock.now += 6000
            shown.done(problem, i, True)
    shown.clock.now += 360
    shown.progress.sampled(replace(sample("0", 0, STANDARD), answer_tokens=710))
    assert (shown.row(1)["left"], shown.row(1)["tokens/s"]) == ("30 min", "2")  # 720 tokens in 360 s
    assert shown.row(0)["tokens/s"] == "0"
    shown.clock.now += 10_000
    assert shown.row(0)["left"] == ""


def test_a_line_that_is_through_has_nothing_left(shown: Shown) -> None:
    shown.beside("0", "1", "2")
    shown.progress.begin(no_cancel)
    for problem in "012":
        for i in range(2):
            shown.clock.now += 1
            shown.done(problem, i, True)
    assert (shown.row()["done"], shown.row()["left"], shown.row()["pass@1"]) == ("6/6", "", "100.0 %")


def test_a_run_that_ended_early_stands_still(shown: Shown) -> None:
    """Its screen may stay open for an hour."""
    shown.progress.begin(no_cancel)
    shown.clock.now += 5
    shown.done("0", 0, True, tokens=50)
    assert (shown.row()["tokens/s"], shown.row()["left"], shown.progress.left_s) == ("10", "25 s", 55.0)
    shown.progress.end()
    shown.clock.now += 3600
    assert (shown.row()["done"], shown.row()["tokens/s"], shown.row()["left"]) == ("1/6", "10", "")
    assert shown.progress.left_s is None


def test_a_pipe_gets_plain_lines_now_and_then(shown: Shown) -> None:
    with shown.progress.shown():
        shown.progress.tick()
        assert shown.err.getvalue() == ""  # nothing is at work yet
        shown.progress.begin(no_cancel)
        shown.done("0", 0, True)
        shown.progress.tick()
        shown.clock.now += PLAIN_FIRST_S - 1
        shown.progress.tick()
        assert shown.err.getvalue() == ""
        shown.clock.now += 1
        shown.progress.tick()
        shown.progress.tick()
        lines = shown.err.getvalue().splitlines()
        assert len(lines) == 3 and lines == shown.progress.lines()
        assert lines[1].split() == ["t", "led", "0.6", "1/6", "-", "-", "10", "0", "1", "50", "s"]
        shown.clock.now += PLAIN_EVERY_S
        shown.progress.tick()
    assert len(shown.err.getvalue().splitlines()) == 6
    assert "\x1b" not in shown.err.getvalue()


def test_a_terminal_shows_the_table_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(monkeypatch, FakeTerminal())
    monkeypatch.setenv("COLUMNS", "120")
    with shown.progress.shown():
        shown.progress.begin(no_cancel)
        shown.done("0", 0, True)
        shown.clock.now += 1
        shown.progress.tick()
        assert "1/6" in shown.err.getvalue() and "\x1b[" in shown.err.getvalue()
        shown.done("0", 1, True)
        before = shown.err.getvalue()
        shown.progress.tick()  # it was shown just before
        assert shown.err.getvalue() == before
    assert "2/6" in shown.err.getvalue().removeprefix(before)  # the end is shown, whenever it comes


def test_a_note_stands_above_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(monkeypatch, FakeTerminal())
    monkeypatch.setenv("COLUMNS", "120")
    with shown.progress.shown():
        shown.progress.begin(no_cancel)
        before = len(shown.err.getvalue())
        shown.progress.note("the engine died; starting it again")
        after = shown.err.getvalue()[before:]
        erased, _, table = after.partition("note: the engine died; starting it again")
        assert "\x1b[2K" in erased and erased.count("tokens/s") <= 1
        assert table.count("tokens/s") == 1


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_is_said_when_quiet(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    shown = Shown(monkeypatch, FakeTerminal() if terminal else None, quiet=True)
    with shown.progress.shown():
        shown.progress.begin(no_cancel)
        shown.done("0", 0, True)
        shown.clock.now += 10 * PLAIN_EVERY_S
        shown.progress.tick()
        shown.progress.note("the engine died")
    assert shown.err.getvalue() == ""


def test_a_note_is_said_once(shown: Shown) -> None:
    shown.progress.note("the engine died")
    shown.progress.note("the engine died")
    assert shown.err.getvalue() == "note: the engine died\n"


def test_lines_are_aligned(shown: Shown) -> None:
    shown.progress.begin(no_cancel)
    shown.done("0", 0, True)
    shown.clock.now += 3
    assert len({len(line) for line in shown.progress.lines()}) == 1


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"),
                                               (7200, "2.0 h"), (100_000, "27.8 h")])
def test_a_duration_has_the_unit_a_person_would_use(seconds: float, said: str) -> None:
    assert duration(seconds) == said
