"""The duel: two ways to answer one message, with the same random numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from fake_engine import FakeEngine, finished, reply, token
from screens import drive, say, screen_text, shown, until
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Input, Static

from ledlocal.evals.puzzle import Puzzle, puzzle_in
from ledlocal.evals.task import Grade
from ledlocal.models import DEMO
from ledlocal.settings import Settings
from ledlocal.values.errors import BadInput, EngineDied
from ledlocal.values.events import Event, Finished, Started, Token
from ledlocal.values.params import EngineOptions, Request
from ledlocal.worker.client import Worker
from ledlocal_tui.app import LedlocalApp
from ledlocal_tui.contest import common_prefix, judge, variant
from ledlocal_tui.screens.duel import Duel
from ledlocal_tui.widgets.turn import TurnView

PUZZLE = "Use 2, 3, 8 and 10 to make 13."


def spoken(*words: str, answer: str = "") -> list[Event]:
    """A reply of these words; equal words have equal ids, and a trailing ! means explored."""
    events = reply(answer or words[-1])
    tokens: list[Event] = [replace(token(word.rstrip("!") + " ", "thinking", i, word.endswith("!"), word.endswith("!")),
                                   id=hash(word.rstrip("!")) % 10**6) for i, word in enumerate(words)]
    return [events[0], *tokens, *events[1:]]


class TwoSides(FakeEngine):
    """Says one thing in the chat and to LED, another to `standard`, whichever asks first."""

    def __init__(self, chat: list[Event], standard: list[Event], led: list[Event]) -> None:
        super().__init__()
        self._first, self._plays = chat, {"standard": standard, "led": led}

    def generate(self, request: Request) -> Iterator[Event]:
        self.requests.append(request)
        first = len(self.requests) == 1
        yield from self._first if first else self._plays[request.thinking.method]

    def of(self, method: str) -> Request:
        """The last request with a method."""
        return next(one for one in reversed(self.requests) if one.thinking.method == method)


class Held(TwoSides):
    """Begins no side before the gate opens; ends those that have begun when it is told to, as a worker does."""

    def __init__(self, chat: list[Event], standard: list[Event], led: list[Event]) -> None:
        super().__init__(chat, standard, led)
        self.gate = threading.Event()
        self._open: dict[int, bool] = {}
        """Number of a request -> whether it is to end."""

    def generate(self, request: Request) -> Iterator[Event]:
        number, events = len(self.requests), super().generate(request)
        begun = next(events)
        assert isinstance(begun, Started) and (not number or self.gate.wait(10))
        self._open[number] = False
        yield replace(begun, request=number)
        for event in events:
            if isinstance(event, Finished):
                yield replace(event, finish="cancelled") if self._open.pop(number) else event
            elif not self._open[number]:
                yield event

    def cancel(self) -> None:
        self._open = dict.fromkeys(self._open, True)

    def cancel_sample(self, number: int, _sample: int) -> None:
        self._open[number] = True


def duel_of(app: LedlocalApp) -> Duel:
    assert isinstance(app.screen, Duel)
    return app.screen


async def fought(app: LedlocalApp, pilot: Pilot[Any]) -> Duel:
    """Wait until both sides have ended and the screen says so."""
    duel = duel_of(app)
    await until(pilot, lambda: all(side.finished for side in duel.sides))
    await pilot.pause(0.2)
    return duel


def test_two_sides_part_where_they_differ() -> None:
    engine = TwoSides(reply("hello"), spoken("one", "two", "three", "four"), spoken("one", "two", "other!", "four"))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "hi")
        await pilot.press("f3")
        duel = await fought(app, pilot)
        left, right = duel.sides
        assert (left.text.common, left.text.split, right.text.split) == (2, 2, 2)
        assert [left.text.kind(i) for i in range(4)] == ["common", "common", "split", "plain"]
        shown_now = screen_text(app)
        assert "one two ◆three four" in shown_now and "one two ◆other• four" in shown_now
        assert [str(side.query_one(".effective", Static).visual).partition(" · k ")[0] for side in duel.sides] == [
            "seed 41 · standard · temp 0.6 · top-k 20 · top-p 0.95 · min-p 0 · order llama", "seed 41 · led · temp 0.6"]
        assert [str(side.query_one(".numbers", Static).visual) for side in duel.sides] == [
            "4 thinking + 1 answer tokens · explored 0, changed 0 · stop",
            "4 thinking + 1 answer tokens · explored 1, changed 1 · stop"]
        assert {(one.seed, one.problem, one.first_sample, one.messages) for one in engine.requests} == {
            (41, "", 0, engine.requests[0].messages)} and len(engine.requests) == 3
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)

    drive(script, engine)


def test_long_replies_are_read_by_keyboard() -> None:
    words = [f"word{i}" for i in range(400)]
    engine = TwoSides(reply("hello"), spoken("one", "two", "left", *words), spoken("one", "two", "right", *words))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "hi")
        await pilot.press("f3")
        duel = await fought(app, pilot)
        assert "◆left" not in screen_text(app) and "word399" in screen_text(app)
        await until(pilot, lambda: "stop" not in screen_text(app).splitlines()[-1])
        assert screen_text(app).splitlines()[-1].rstrip() == (
            "PgUp PgDn scroll ⏎ go tab field ^r dice ^o ◆ esc back ^q quit f1 help")
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "◆left" in screen_text(app) and "◆right" in screen_text(app))
        await pilot.press("ctrl+end")
        await until(pilot, lambda: "◆left" not in screen_text(app))
        await pilot.press("pageup")
        await until(pilot, lambda: "word399" not in screen_text(app))
        tops = [side.query_one(VerticalScroll).scroll_y for side in duel.sides]
        await pilot.press("up")
        assert [side.query_one(VerticalScroll).scroll_y for side in duel.sides] == [top - 1 for top in tops]
        await pilot.press("ctrl+home")
        await until(pilot, lambda: "◆left" in screen_text(app))
        duel.sides[1].query_one(Input).value = "led d=4"
        duel.sides[1].query_one(Input).focus()
        await pilot.press("enter")
        duel = await fought(app, pilot)
        duel.sides[1].query_one(Input).value = "led d=99 k=0"  # what cannot be asked is not kept
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        await pilot.press("f3")
        assert [side.words for side in (await fought(app, pilot)).sides] == ["standard", "led d=4"]

    drive(script, engine, (80, 24))


def test_an_engine_that_dies_in_a_duel_says_so() -> None:
    class Dying(TwoSides):
        def generate(self, request: Request) -> Iterator[Event]:
            if len(self.requests) == 2:
                self.died = "the engine died (SIGKILL)"
            for event in super().generate(request):
                if self.died:
                    raise EngineDied(self.died)
                yield event

    engine = Dying(reply("hello"), spoken("a"), spoken("b"))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "hi")
        await pilot.press("f3")
        words = "the engine died (SIGKILL); escape, and ctrl+r there loads the model again"
        await until(pilot, lambda: shown(app, "#said") == words)
        asked = len(engine.requests)
        await pilot.press("ctrl+r")
        assert shown(app, "#said") == words and len(engine.requests) == asked
        await pilot.press("escape")
        await until(pilot, lambda: "ctrl+r loads the model again" in shown(app, "#banner"))

    drive(script, engine)


def test_leaving_a_duel_ends_its_replies() -> None:
    gate = threading.Event()

    class Slow(TwoSides):
        def generate(self, request: Request) -> Iterator[Event]:
            for event in super().generate(request):
                if len(self.requests) > 1 and isinstance(event, Finished):
                    gate.wait(10)
                yield event

    engine = Slow(reply("hello"), spoken("a"), spoken("b"))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "hi")
        await pilot.press("f3")
        await until(pilot, lambda: len(engine.requests) == 3 and not engine.cancelled)
        await pilot.press("escape")
        await until(pilot, lambda: engine.cancelled and app.screen is app.chat)
        gate.set()

    drive(script, engine)


def test_settings_seeds_and_a_known_answer() -> None:
    engine = TwoSides(reply("hello"), spoken("a", answer="391"), spoken("a", answer="392"))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "hi")
        await pilot.press("f3")
        duel = await fought(app, pilot)
        assert all(side.grade is None for side in duel.sides)
        await until(pilot, lambda: shown(app, "#said").startswith("not judged: no right answer is known"))
        duel.query_one("#left Input", Input).value = "standard temp=1.5 top-k=4"
        duel.query_one("#left Input", Input).focus()
        await pilot.press("enter")
        duel = await fought(app, pilot)
        assert (engine.of("standard").thinking.temperature, engine.of("standard").thinking.top_k) == (1.5, 4)
        assert engine.of("led").thinking.temperature == 0.6
        await pilot.press("ctrl+r")
        await fought(app, pilot)
        assert [one.first_sample for one in engine.requests] == [0, 0, 0, 0, 0, 1, 1]
        duel.query_one("#known", Input).value = "391"
        duel.query_one("#known", Input).focus()
        await pilot.press("enter")
        await until(pilot, lambda: all(side.grade for side in duel.sides))
        assert [side.grade.correct for side in duel.sides if side.grade] == [True, False]
        await pilot.pause(0.1)
        assert "✓ right" in screen_text(app) and "✗ wrong" in screen_text(app)
        assert shown(app, "#said") == "judged by the known answer 391"
        duel.query_one("#left Input", Input).value = "best"
        duel.query_one("#left Input", Input).focus()
        await pilot.press("enter")
        assert "a method must be one of" in shown(app, "#said") and len(engine.requests) == 7

    drive(script, engine, size=(80, 24))


def test_a_known_answer_is_remembered_while_a_side_runs() -> None:
    engine = Held(reply("hello"), spoken("a", answer="391"), spoken("a", answer="392"))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "hi")
        await pilot.press("f3")
        await until(pilot, lambda: len(engine.requests) == 3)
        duel_of(app).query_one("#known", Input).focus()
        await pilot.press(*"391", "enter")
        await pilot.pause(0.1)
        engine.gate.set()
        duel = await fought(app, pilot)
        await until(pilot, lambda: all(side.grade for side in duel.sides))
        assert [side.grade.correct for side in duel.sides if side.grade] == [True, False]
        assert len(engine.requests) == 3

    drive(script, engine)


def test_a_duel_is_stopped_before_the_engine_knows_of_it() -> None:
    engine = Held(reply("hello"), spoken("a", "b"), spoken("a", "c"))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "hi")
        await pilot.press("f3")
        await until(pilot, lambda: len(engine.requests) == 3)
        await pilot.press("ctrl+c")
        engine.gate.set()
        duel = duel_of(app)
        await until(pilot, lambda: all(side.ended for side in duel.sides))
        assert [side.text.tokens for side in duel.sides] == [[], []]

    drive(script, engine)


def test_no_duel_without_a_message() -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("f3")
        assert app.screen is app.chat

    drive(script, FakeEngine())


def test_on_the_demo_model_a_side_equals_the_chat() -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, PUZZLE)
        said = [one.id for one in app.chat.query_one(TurnView).tokens]
        await pilot.press("f3")
        duel = await fought(app, pilot)
        left, right = duel.sides
        assert [one.id for one in right.text.tokens] == said
        common = common_prefix(left.text.tokens, right.text.tokens)
        assert left.text.common == common and left.text.tokens[:common] != []
        await until(pilot, lambda: left.grade is not None)
        assert shown(app, "#said") == "judged by calculating"
        for side in duel.sides:
            problem = puzzle_in(PUZZLE)
            assert side.finished is not None and problem is not None
            assert side.grade == Puzzle().grade(problem, side.finished.answer)

    drive(script, lambda: Worker(EngineOptions(str(DEMO), threads=1, reproducible=True)))


def test_common_prefix() -> None:
    def ids(*numbers: int) -> list[Token]:
        return [replace(token("x"), id=number) for number in numbers]

    assert common_prefix(ids(1, 2, 3), ids(1, 2, 4)) == 2
    assert common_prefix(ids(1, 2), ids(1, 2, 4)) == 2
    assert common_prefix([], ids(1)) == 0


def test_words_for_settings() -> None:
    settings = variant(Settings(seed=3), "led:norm=on,d=4 temp=1")
    sampling = settings.sampling("thinking", None)
    assert (sampling.method, sampling.temperature, sampling.led.norm, sampling.led.d, settings.seed) == (
        "led", 1.0, True, 4, 3)
    assert variant(Settings(seed=3), "led norm=1,d=4,temp=1") == settings
    for words in ("", "best", "led temp=x", "led nothing=1", "led temp"):
        with pytest.raises(BadInput):
            variant(Settings(seed=3), words)


def test_verdicts() -> None:
    found = judge(PUZZLE, "", ["(10-8)*3+2", "10+3", "8"])
    assert found is not None and [grade.correct for grade in found] == [False, False, False]
    assert judge("What is 17*23?", "", ["391"]) is None
    found = judge("What is 17*23?", "391", [r"\boxed{391}", "It is 392."])
    assert found is not None and [grade.correct for grade in found] == [True, False]


def test_every_wording_of_a_puzzle_is_recognized() -> None:
    for problem in Puzzle().problems():
        found = puzzle_in(f"  {problem.question} ")
        assert found is not None and found.id == problem.id
    assert puzzle_in("Use 2 to make 13.") is None and puzzle_in("hello") is None


def test_a_stopped_duel_is_not_judged() -> None:
    stopped = replace(finished("((5*4)+3)+7=30"), finish="cancelled")
    said = [*spoken("a", "b")[:-1], stopped]
    engine = TwoSides(spoken("a", answer="x"), said, said)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, PUZZLE)
        await pilot.press("f3")
        duel = await fought(app, pilot)
        assert shown(app, "#said") == "not judged: stopped"
        assert all(side.grade is None for side in duel.sides)

    drive(script, engine)


def test_a_mistake_of_a_grader_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*_: object) -> list[Grade]:
        raise ZeroDivisionError("nobody foresaw")

    monkeypatch.setattr("ledlocal_tui.screens.duel.judge", mistaken)
    engine = TwoSides(spoken("a", answer="x"), spoken("a", "b"), spoken("a", "c"))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, PUZZLE)
        await pilot.press("f3")
        await until(pilot, lambda: shown(app, "#said") == "not judged: ZeroDivisionError: nobody foresaw")

    drive(script, engine)


def test_a_verdict_of_answers_that_are_gone_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow grader ends behind that of the next replies."""
    gate, rounds = threading.Event(), count()

    def slow(_question: str, _known: str, _answers: Sequence[str]) -> list[Grade]:
        if next(rounds) == 0:
            assert gate.wait(10)
            return [Grade(False, "old"), Grade(False, "old")]
        return [Grade(True, "new"), Grade(True, "new")]

    monkeypatch.setattr("ledlocal_tui.screens.duel.judge", slow)
    engine = TwoSides(spoken("a", answer="x"), spoken("a", "b"), spoken("a", "c"))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, PUZZLE)
        await pilot.press("f3")
        duel = await fought(app, pilot)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: all(side.grade is not None and side.grade.vote == "new" for side in duel.sides))
        gate.set()
        await pilot.pause(0.3)
        assert [side.grade and side.grade.correct for side in duel.sides] == [True, True]

    drive(script, engine)
