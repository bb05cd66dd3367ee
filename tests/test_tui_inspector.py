"""The token inspector: on scripted engines, and on the demo model against what was traced."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, finished, token
from screens import drive, say, screen_text, shown, until
from test_tui_chat import thoughtful
from test_tui_numbers import FORK
from textual.pilot import Pilot

from ledlocal.conversation import read_conversation
from ledlocal.models import DEMO
from ledlocal.values.errors import OutOfResources
from ledlocal.values.events import Event, Finished, Started, Token
from ledlocal.values.params import EngineOptions, Message, Request
from ledlocal.worker.client import Worker
from ledlocal_tui.answering import ids_of, look
from ledlocal_tui.app import LedlocalApp
from ledlocal_tui.feed import Feed
from ledlocal_tui.screens.inspector import Inspector, described
from ledlocal_tui.widgets.turn import TurnView


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.enqueue(thoughtful())
    return engine


def test_every_key_moves_where_it_says(engine: FakeEngine) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "well?")
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, Inspector))
        inspector = app.screen
        assert isinstance(inspector, Inspector) and inspector.at == 1  # the first explored token
        for key, place in (("right", 2), ("left", 1), ("n", 3), ("p", 1), ("end", 6), ("home", 0), ("left", 0)):
            await pilot.press(key)
            assert inspector.at == place, key
        await pilot.press("p")
        assert shown(app, "#said") == "no explored token there"
        await pilot.press("n", "n")
        await until(pilot, lambda: "token 3 · 7 shown" in screen_text(app) and "◀ drawn from" in screen_text(app))
        text = screen_text(app)
        for words in ("token 3 · 7 shown · ␣wait · thinking",
                      "coin 0.250: explored, changed · draw 0.500",
                      "so       ▸␣wait", "L12   ▅ 0.600   ▂ 0.200   H 0.560",
                      "L9    ▁ 0.000   ▄ 0.400   H 0.690 ◀ drawn from"):
            assert words in text, words
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)

    drive(script, engine)


def test_a_click_on_a_token_looks_at_it(engine: FakeEngine) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "well?")
        await pilot.click(".thought", offset=(4, 0))  # behind an indent of 2: `I so◦`
        await until(pilot, lambda: isinstance(app.screen, Inspector))
        assert isinstance(app.screen, Inspector) and app.screen.at == 1

    drive(script, engine)


def test_layers_of_a_token_that_was_not_projected(engine: FakeEngine) -> None:
    looked = replace(token(" think", "thinking", 2, candidates=FORK.candidates), depth=1)
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), looked, finished("")])
    engine.enqueue([OutOfResources("the KV cache is full")])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "well?")
        await pilot.press("f2", "right")
        await until(pilot, lambda: "Its layers were not looked at. l looks at them." in screen_text(app))
        await pilot.press("l")
        await until(pilot, lambda: "L10   ▁ 0.100   ▃ 0.300   H 0.680 ◀ largest" in screen_text(app))
        asked = engine.requests[1]
        assert (asked.continues, asked.max_tokens, asked.detail) == ((7, 8), 1, "all")
        assert asked.seed == engine.requests[0].seed and asked.messages == engine.requests[0].messages
        await pilot.press("right", "right", "l")  # a marker, drawn like any other token
        await until(pilot, lambda: shown(app, "#said") == "the KV cache is full")

    drive(script, engine)


def test_a_fork_is_a_conversation_of_its_own(engine: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    rest: list[Event] = [Started(1, 0, (1,), 0, 0.0), token(" then", "thinking", 4),
                         replace(finished("No.", "I so think so then"), ids=(7,) * 5, continued=4)]
    engine.enqueue(rest)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "well?")
        await pilot.press("f2", "n", "up", "f")
        await until(pilot, lambda: len(engine.requests) == 2 and app.chat.answering is None)
        assert engine.requests[1].continues == (7, 8, 7, 7)  # ids of FORK are 8; its first candidate is 7
        await until(pilot, lambda: "I so◦ thinkso then" in screen_text(app))
        assert [turn.answer for turn in read_conversation(path).turns] == ["**Yes**."]
        assert app.chat.dialogue is not None and app.chat.dialogue.path is not None
        assert [turn.answer for turn in read_conversation(app.chat.dialogue.path).turns] == ["No."]
        assert len(app.screen.query(TurnView)) == 1

    drive(script, engine, path=path)


def test_a_token_in_words() -> None:
    forced = replace(token("x", "thinking", 4), forced=True)
    assert described(forced, 9) == ["token 4 · 9 shown · x · thinking",
                                    "p_top1 0.750 · entropy 0.500 · put there, not drawn"]
    assert described(token("", "answer", 0, marker=True), 1)[0] == "token 0 · 1 shown · part of a marker · answer"
    assert described(token("x"), 1)[1].endswith("coin 0.250: not explored · draw 0.500")


REQUEST = Request(messages=(Message("user", "Use 3, 4, 5 and 7 to make 30."),), seed=4, max_tokens=120)


@pytest.fixture(scope="module")
def demo() -> Iterator[Worker]:
    with Worker(EngineOptions(str(DEMO), threads=1, reproducible=True)) as worker:
        yield worker


def events_of(feed: Feed) -> list[Event]:
    found: list[Event] = []
    end = time.monotonic() + 60
    while not feed.ended:
        assert time.monotonic() < end
        found += feed.take()
        time.sleep(0.01)
    return found + feed.take()


def tokens_of(feed: Feed) -> list[Token]:
    return [event for event in events_of(feed) if isinstance(event, Token)]


def test_layers_that_are_looked_at_later_are_those_of_a_trace(demo: Worker) -> None:
    """Bit for bit: a reproducible engine decodes the prefix token by token, as it was generated."""
    plain, traced = tokens_of(Feed(demo, REQUEST)), tokens_of(Feed(demo, replace(REQUEST, detail="all")))
    assert ids_of(plain) == ids_of(traced)
    unseen = [i for i, one in enumerate(plain) if one.candidates is None and one.phase == "thinking" and not one.marker]
    assert len(unseen) > 20
    for at in unseen[:3] + unseen[-3:]:
        [found] = tokens_of(look(demo, REQUEST, plain, at))
        assert (found.id, found.depth, found.candidates) == (traced[at].id, traced[at].depth, traced[at].candidates)


def test_a_fork_goes_on_as_if_it_had_always_been_so(demo: Worker) -> None:
    """The same tokens as a fresh engine gives behind that prefix."""
    plain = tokens_of(Feed(demo, REQUEST))
    at = next(i for i, one in enumerate(plain) if one.explored and i > 10)
    candidates = plain[at].candidates
    assert candidates is not None
    other = next(one for one in candidates.ids if one != plain[at].id)
    request = replace(REQUEST, continues=(*ids_of(plain[:at]), other))
    forked = [event for event in events_of(Feed(demo, request)) if isinstance(event, Finished)]
    with Worker(EngineOptions(str(DEMO), threads=1, reproducible=True)) as fresh:
        again = [event for event in events_of(Feed(fresh, request)) if isinstance(event, Finished)]
    assert [end.ids for end in forked] == [end.ids for end in again] and len(forked[0].ids) > at + 2
