"""Replies that are stopped and go on, engines that die, and what is remembered of a reply's tokens."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import LOADED, FakeEngine, finished, reply, token
from screens import drive, say, screen_text, shown, until
from test_tui_chat import Held, thoughtful
from textual.pilot import Pilot

from ledlocal.conversation import Conversation, Turn, read_conversation
from ledlocal.values.errors import OutOfResources
from ledlocal.values.events import Started
from ledlocal_tui.app import LedlocalApp
from ledlocal_tui.screens.inspector import Inspector

DIED = "engine died (SIGKILL)"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def footer(app: LedlocalApp) -> str:
    return screen_text(app).splitlines()[-1]


async def begun(app: LedlocalApp, pilot: Pilot[Any]) -> None:
    """A reply that waits in its middle."""
    await pilot.press("h", "i", "enter")
    await until(pilot, lambda: "I so◦ think" in screen_text(app))


# ---- an engine that dies ----


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_while_none_runs_its_key_is_seen_and_the_reason_stays(engine: FakeEngine, size: tuple[int, int]) -> None:
    held, gate = Held(engine, died=True), threading.Event()

    def start(_name: str | None) -> FakeEngine:
        gate.wait(30)
        return FakeEngine()

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await begun(app, pilot)
        held.gate.set()
        await until(pilot, lambda: "^r restart" in footer(app))
        assert "go on" not in footer(app)
        why = shown(app, "#banner")
        await pilot.press("ctrl+g")  # there are tokens to go on from, but nobody to go on
        await pilot.pause(0.1)
        assert shown(app, "#banner") == why == f"{DIED}\nthe conversation is kept; ctrl+r loads the model again"
        app._start = start
        await pilot.press("ctrl+r")
        await until(pilot, lambda: shown(app, "#banner") == f"{DIED}\nloading ...")
        await until(pilot, lambda: "^r" not in footer(app))
        gate.set()
        await until(pilot, lambda: shown(app, "#banner") == "")
        await until(pilot, lambda: "^g go on" in footer(app))

    drive(script, engine, size)


def test_the_inspector_says_what_the_engine_died_of(engine: FakeEngine) -> None:
    """Once; in front of a reply that comes, and of one that has come."""
    held = Held(engine, died=True)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await begun(app, pilot)
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, Inspector))
        assert shown(app, "#said") == ""
        held.gate.set()
        await until(pilot, lambda: shown(app, "#said") == DIED)
        await pilot.press("right")
        await pilot.pause(0.2)
        assert shown(app, "#said") == ""
        await pilot.press("escape")
        app._start = lambda _name: second
        await pilot.press("ctrl+r")
        await until(pilot, lambda: app.engine is second and shown(app, "#banner") == "")
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, Inspector))
        await pilot.pause(0.2)
        assert shown(app, "#said") == ""
        second.died = "signal 9"
        await until(pilot, lambda: shown(app, "#said") == "signal 9")

    second = FakeEngine()
    drive(script, engine)


def test_a_reply_is_inspected_from_its_first_token_on(engine: FakeEngine) -> None:
    """The footer knows of its key, and once it has ended the inspector of its own."""
    held = Held(engine)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await begun(app, pilot)
        await until(pilot, lambda: "f2 inspect" in footer(app))
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, Inspector))
        await pilot.press("right")
        await until(pilot, lambda: "Its layers were not looked at." in screen_text(app))
        assert "l looks at them." not in screen_text(app)
        held.gate.set()
        await until(pilot, lambda: "Its layers were not looked at. l looks at them." in screen_text(app))
        await until(pilot, lambda: "l look " in footer(app))

    drive(script, engine)


# ---- going on ----


def test_an_end_is_not_seen_below_a_reply_that_goes_on(engine: FakeEngine) -> None:
    held = Held(engine)
    again = Held(engine)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await begun(app, pilot)
        await pilot.press("ctrl+c")
        held.gate.set()
        await until(pilot, lambda: "finish: cancelled" in screen_text(app) and not app.chat.busy)
        await pilot.press("ctrl+g")
        await until(pilot, lambda: "6 tokens" in screen_text(app))
        assert "finish: cancelled" not in screen_text(app)
        again.gate.set()
        await until(pilot, lambda: not app.chat.busy)

    drive(script, engine)


def test_a_reply_that_cannot_go_on_stays_as_it_was(engine: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    turn = Turn("q", "", "so far", "length", seed=5, method="led", ids=(7, 7))
    engine.enqueue([OutOfResources("the context of 256 tokens is full")])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("ctrl+g")
        await until(pilot, lambda: "is full" in shown(app, "#banner"))
        assert read_conversation(path).turns == (turn,)

    drive(script, engine, conversation=Conversation(turns=(turn,), model="m"), path=path)


# ---- what is remembered ----


def test_a_view_remembers_what_the_dialogue_has_forgotten(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an undone message, and with another engine of the same model; not with another model."""
    monkeypatch.setattr("ledlocal.dialogue.REMEMBERED", 5)
    for play in (thoughtful(), reply("no")):
        engine.enqueue(play)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "a")
        await say(app, pilot, "b")
        assert app.chat.dialogue is not None and app.chat.dialogue.said(0) is None
        await say(app, pilot, "/undo")
        [view] = app.chat.conversation.turns
        assert len(view.tokens) == 7 and "explored  2 · 40.0 %" in shown(app, "#counts")
        app._start = lambda _name: FakeEngine()
        app.drop_engine()
        await pilot.press("ctrl+r")
        await until(pilot, lambda: app.engine is not None)
        await pilot.pause(0.1)
        await pilot.press("f2", "right")
        await until(pilot, lambda: "l looks at them." in screen_text(app))
        await pilot.press("escape")
        app._change_to("other")
        await until(pilot, lambda: app.engine is not None)
        await pilot.pause(0.1)
        assert len(view.tokens) == 7 and view.request is None

    drive(script, engine)


# ---- what looking costs ----


@pytest.mark.parametrize("scope", ["thinking", "all"])
def test_the_cost_is_measured_where_layers_are_looked_into(engine: FakeEngine, scope: str) -> None:
    """A thought at 100 tokens per second at most, and an answer; all 40 tokens in the engine's 0.25 s."""
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), *(play for i in range(30) for play in (
        lambda: time.sleep(0.01), token("x ", "thinking", i))), *(token("y ", i=i) for i in range(30, 40)),
        finished("y " * 10, "x " * 30)])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        assert app.chat.dialogue is not None
        app.chat.dialogue.settings = app.chat.dialogue.settings.with_value("scope", scope)
        await say(app, pilot, "a")
        speed = app.chat.looking._known[False]
        assert speed == 160 if scope == "all" else 10 < speed <= 100

    drive(script, engine)


def test_models_and_settings_are_not_compared(engine: FakeEngine) -> None:
    other = FakeEngine(replace(LOADED, model=replace(LOADED.model, name="other", path="other.gguf")))
    for one in (engine, engine, engine, other):
        one.enqueue(reply("yes"))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        async def cost() -> str:
            await say(app, pilot, "a")
            return app.chat.looking.cost

        await cost()
        app.chat.looking._known = {False: 60.0, True: 20.0}
        assert await cost() == "all 20.0 · forks 60.0 tokens/s"
        assert app.chat.dialogue is not None
        app.chat.dialogue.settings = app.chat.dialogue.settings.with_value("temp", "1")
        assert await cost() == ""
        app.chat.looking._known = {False: 60.0, True: 20.0}
        app._start = lambda _name: other
        app._change_to("other")
        await until(pilot, lambda: app.engine is other and not app.loads)
        await pilot.pause(0.1)
        assert await cost() == ""

    drive(script, engine)
