"""What comes at the wrong moment: keys in one piece, twice, or while something else goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, finished, reply, token
from screens import drive, say, screen_text, shown, until
from test_tui_chat import Held, thoughtful
from textual import events
from textual._xterm_parser import XTermParser
from textual.pilot import Pilot
from textual.widgets import Input

import ledlocal_tui.app as app_module
from ledlocal.conversation import Conversation, Turn, path_of, read_conversation, write
from ledlocal.stores.location import Location
from ledlocal.values.errors import BadInput, EngineDied, OutOfResources
from ledlocal.values.events import Event, Finished, Prefilled, Started
from ledlocal.values.params import Request
from ledlocal_tui.app import LedlocalApp
from ledlocal_tui.screens.inspector import Inspector
from ledlocal_tui.screens.picker import Picker
from ledlocal_tui.screens.settings import SettingsDrawer
from ledlocal_tui.widgets.prompt import Prompt

TEXT = "\n\n".join(["A paragraph of some words that says **something**, as answers do, in two lines or so."] * 8)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def long(turns: int) -> Conversation:
    """A conversation that takes a while to be drawn."""
    return Conversation(model="m", turns=tuple(Turn(f"q{i}", TEXT, "some thought " * 200) for i in range(turns)))


def burst(app: LedlocalApp, *keys: str) -> None:
    """Keys that arrive in one piece, as over ssh."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))


@pytest.mark.parametrize(("first", "rest"), [
    ("f5", ("enter", "enter")), ("f6", ("enter", "enter")), ("f4", ("enter", "enter")), ("f4", ("escape", "escape")),
    ("f1", ("escape", "escape")), ("ctrl+p", ("down", "enter", "enter")), ("ctrl+p", ("escape", "escape"))])
def test_a_list_is_left_once(engine: FakeEngine, first: str, rest: tuple[str, ...], tmp_path: Path,
                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(app_module, "known", lambda _unreadable: iter([Location("other", Path(__file__), "hub")]))
    for name in ("one", "two"):
        write(path_of(name), "\n".join(long(1).lines()) + "\n")

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press(first)
        await until(pilot, lambda: len(app.screen_stack) > 2)
        await pilot.pause(0.3)
        burst(app, *rest)
        await pilot.pause(0.5)
        while app.screen is not app.chat:  # a command of the palette may open something
            await pilot.press("escape")
            await pilot.pause(0.1)
        assert len(app.screen_stack) == 2 and app.chat.query(Prompt)

    drive(script, engine)


@pytest.mark.parametrize("key", ["f4", "f5", "f6"])
def test_a_list_is_opened_once(engine: FakeEngine, key: str) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        burst(app, key, key)
        await pilot.pause(0.5)
        assert len(app.screen_stack) == 3

    drive(script, engine)


def test_keys_of_a_field_come_in_order(engine: FakeEngine) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        prompt = app.chat.query_one(Prompt)
        burst(app, "a", "b", "ctrl+u", "h", "i", "backspace", "o", "left", "x")
        await until(pilot, lambda: prompt.text == "hxo")
        await pilot.press("f5")
        await until(pilot, lambda: isinstance(app.screen, Picker))
        await pilot.pause(0.1)
        burst(app, "a", "b", "ctrl+u", "1", "2", "backspace", "3")
        await until(pilot, lambda: app.screen.query_one(Input).value == "13")
        await pilot.press("escape")

    drive(script, engine)


def test_drafts_and_refused_messages_are_kept(engine: FakeEngine) -> None:
    held = Held(engine)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        prompt = app.chat.query_one(Prompt)
        await pilot.press("h", "i", "enter")
        await until(pilot, lambda: "I so◦ think" in screen_text(app))
        await pilot.press(*"draft", "up")
        assert prompt.text == "hi"
        await pilot.press("down")
        assert prompt.text == "draft"
        prompt.action_send()
        prompt.insert("and more")
        await until(pilot, lambda: prompt.text == "draft\nand more")
        assert shown(app, "#banner") == "it answers; ctrl+c stops it"
        held.gate.set()
        await until(pilot, lambda: not app.chat.busy)
        assert shown(app, "#banner") == ""
        prompt.text = "one\\"
        prompt.move_cursor(prompt.document.end)
        await pilot.press("enter", "x")
        assert prompt.text == "one\nx" and len(engine.requests) == 1

    drive(script, engine)


def test_a_reply_can_be_looked_at_while_it_comes(engine: FakeEngine) -> None:
    held = Held(engine)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("h", "i", "enter")
        await until(pilot, lambda: "I so◦ think" in screen_text(app))
        await pilot.press("f3")
        assert shown(app, "#banner") == "it answers; ctrl+c stops it"
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, Inspector))
        inspector = app.screen
        assert isinstance(inspector, Inspector) and len(inspector.tokens) == 3
        assert inspector.check_action("branch", ()) is False is inspector.check_action("project", ())
        await pilot.press("escape", "f4")
        await until(pilot, lambda: isinstance(app.screen, SettingsDrawer))
        await pilot.press("escape", "f2")
        await until(pilot, lambda: isinstance(app.screen, Inspector))
        held.gate.set()
        await until(pilot, lambda: not app.chat.busy)
        await until(pilot, lambda: "7 shown" in shown(app, "#token") and "Yes" in screen_text(app))  # it grows, too
        await until(pilot, lambda: "f fork" in screen_text(app).splitlines()[-1])

    drive(script, engine)


def test_a_message_goes_behind_a_conversation_that_is_laid_out(engine: FakeEngine, tmp_path: Path) -> None:
    engine.enqueue(reply("new"))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        app.chat.call_later(app.chat.load, path)
        burst(app, "h", "i", "enter")
        await until(pilot, lambda: engine.requests and not app.chat.busy)
        assert app.chat.dialogue is not None
        said = [turn.user for turn in app.chat.dialogue.conversation.turns]
        assert [view.turn.user for view in app.chat.conversation.turns] == said == [*(f"q{i}" for i in range(12)), "hi"]

    path = tmp_path / "long.jsonl"
    write(path, "\n".join(long(12).lines()) + "\n")
    drive(script, engine)


def test_leaving_while_a_conversation_is_laid_out(engine: FakeEngine) -> None:
    app = LedlocalApp(lambda _name: engine, app_module.Settings(seed=1), long(12), None)

    async def run() -> None:
        async with app.run_test(size=(120, 40)):
            while app.chat.dialogue is None:
                await asyncio.sleep(0.001)
            app.exit(return_code=143)  # what a signal's handler does
            await asyncio.sleep(0.5)

    asyncio.run(run())
    app.drop_engine()
    assert app.return_code == 143 and app._exception is None


@pytest.mark.parametrize("play", [[EngineDied("dead")], [OutOfResources("full")],
                                  [replace(finished(""), finish="cancelled")]])
def test_an_answer_that_stays_is_seen_again(engine: FakeEngine, play: list[Event], tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    engine.enqueue(reply("Answer one."))
    engine.enqueue(play)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "a")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(engine.requests) == 2 and not app.chat.busy)
        await until(pilot, lambda: "Answer one." in screen_text(app))
        assert app.chat.dialogue is not None and len(app.chat.conversation.turns) == 1
        assert app.chat.dialogue.conversation.turns == read_conversation(path).turns
        assert app.chat.conversation.turns[0].tokens  # and can be inspected

    drive(script, engine, path=path)


def test_what_the_banner_said_of_the_prompt_goes(engine: FakeEngine) -> None:
    engine.enqueue([Prefilled(1, 0, 10, 100), replace(finished(""), finish="cancelled")])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "a")
        assert shown(app, "#banner") == ""

    drive(script, engine)


def test_the_second_choice_of_a_model_waits_for_the_first_one_to_leave(engine: FakeEngine) -> None:
    log: list[str] = []
    closing, other = threading.Event(), FakeEngine()

    def close() -> None:
        closing.wait(10)
        log.append("A closed")

    def start(name: str | None) -> FakeEngine:
        log.append(f"{name} starts")
        return other

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        app._start, engine.close = start, close  # type: ignore[method-assign]
        app._change_to("B")
        app._change_to("C")
        await say(app, pilot, "hi")
        assert shown(app, "#banner") == "the model is being loaded" and app.chat.query_one(Prompt).text == "hi"
        closing.set()
        await until(pilot, lambda: app.engine is other)
        assert log == ["A closed", "C starts"]

    drive(script, engine)


def test_a_failure_that_is_told_late_belongs_to_its_own_load(engine: FakeEngine) -> None:
    other, gate = FakeEngine(), threading.Event()

    def start(name: str | None) -> FakeEngine:
        if name == "B":
            raise BadInput("B: no such file")
        gate.wait(10)
        return other

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        app._start = start
        app._change_to("B")
        assert app._loading is not None
        app._loading.join()  # it has told; its message waits
        app._change_to("C")
        await pilot.pause(0.2)
        gate.set()
        await until(pilot, lambda: app.engine is other)
        assert "no such file" not in shown(app, "#banner")

    drive(script, engine)
    assert other.closed == 1


class Several(FakeEngine):
    """Cancels as the worker does: all requests that are open, or one that its events name."""

    def __init__(self, gate: threading.Event) -> None:
        super().__init__()
        self.gate = gate
        self.ended: dict[int, bool] = {}

    def generate(self, request: Request) -> Iterator[Event]:
        number = len(self.requests)
        self.ended[number] = False
        if number == 1:  # a look: its first event comes late
            self.requests.append(request)
            self.gate.wait(5)
            yield Started(number, 0, (1,), 0, 0.0)
            yield replace(finished(""), finish="cancelled")
            return
        for event in super().generate(request):
            time.sleep(0.02)
            yield replace(event, finish="cancelled") if isinstance(event, Finished) and self.ended[number] else event

    def cancel(self) -> None:
        self.ended = dict.fromkeys(self.ended, True)

    def cancel_sample(self, number: int, sample: int) -> None:
        self.ended[number] = True


def test_a_look_that_is_ended_late_ends_no_other_reply() -> None:
    gate = threading.Event()
    engine = Several(gate)
    engine.enqueue(thoughtful())
    engine.enqueue(thoughtful())

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "a")
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, Inspector))
        await pilot.press("right", "l", "escape")
        await until(pilot, lambda: app.screen is app.chat)
        app.chat.query_one(Prompt).focus()
        await pilot.press("b", "enter")
        await until(pilot, lambda: len(engine.requests) == 3)
        gate.set()
        await until(pilot, lambda: not app.chat.busy)
        assert app.chat.dialogue is not None and app.chat.dialogue.last is not None
        assert app.chat.dialogue.last.finished.finish == "stop"

    drive(script, engine)


@pytest.mark.parametrize(("key", "came"), [("ctrl+e", lambda engine: engine.answered),
                                           ("ctrl+c", lambda engine: engine.cancelled)])
def test_a_key_before_the_engine_knows_of_the_request(key: str, came: Callable[[FakeEngine], object]) -> None:
    gate = threading.Event()

    class Late(FakeEngine):
        def generate(self, request: Request) -> Iterator[Event]:
            gate.wait(5)
            self.answered, self.cancelled = 0, False  # it knew of nothing that this was meant for
            yield from super().generate(request)

    engine = Late()
    engine.enqueue(thoughtful())

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("a", "enter")
        await until(pilot, lambda: app.chat.answering is not None)
        await pilot.press(key)
        gate.set()
        await until(pilot, lambda: not app.chat.busy)
        assert came(engine)

    drive(script, engine)


def test_an_engine_that_dies_while_nobody_asks_is_told_of(engine: FakeEngine) -> None:
    engine.enqueue(reply("one"))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "a")
        app._start = lambda _name: FakeEngine()
        engine.died = "the engine process died (signal 9)"
        await until(pilot, lambda: shown(app, "#banner").startswith("the engine process died (signal 9)\n"))
        assert "ctrl+r loads the model again" in shown(app, "#banner") and app.engine is None
        await pilot.press("ctrl+r")
        await until(pilot, lambda: app.engine is not None and shown(app, "#banner") == "")

    drive(script, engine)


def test_alt_enter_is_a_new_line(engine: FakeEngine) -> None:
    """As terminals send it that know no better: Escape and Enter in one piece."""
    parser = XTermParser()
    keys = [event.key for event in parser.feed("a\x1b\rb") if isinstance(event, events.Key)]

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        burst(app, *keys)
        await until(pilot, lambda: app.chat.query_one(Prompt).text == "a\nb")
        assert not engine.requests

    drive(script, engine)


def test_redraws_are_few(engine: FakeEngine) -> None:
    """However fast tokens come."""
    engine.enqueue([Started(1, 0, (1,), 0, 0.0),
                    *(play for i in range(200) for play in (token("x ", "thinking", i), lambda: time.sleep(0.005))),
                    finished("", "x")])
    drawn: list[float] = []

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        extend = app.chat.conversation.extend

        async def counted(*arguments: Any) -> None:
            drawn.append(time.monotonic())
            await extend(*arguments)

        app.chat.conversation.extend = counted  # type: ignore[method-assign]
        await say(app, pilot, "a")
        assert len(app.chat.conversation.turns[0].tokens) == 200

    drive(script, engine)
    assert 2 <= len(drawn) <= 2 + 15 * (drawn[-1] - drawn[0])
