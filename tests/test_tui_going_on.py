"""A chat goes on on a whole screen and back, with the same engine; a model that is loaded while the user leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, FakeTerminal, reply
from screens import drive, say, screen_text, shown, until
from test_tui_chat import Held, thoughtful
from textual.pilot import Pilot

import ledlocal_tui.app as app_module
from ledlocal.chat import Chat
from ledlocal.conversation import Conversation, Turn, read_conversation
from ledlocal.reply import Engine
from ledlocal.settings import Settings
from ledlocal.slash import carry_out
from ledlocal.stores.location import Location
from ledlocal.terminal import Console
from ledlocal.trace import TraceWriter, read_trace
from ledlocal.values.errors import BadInput, EngineDied, OutOfResources
from ledlocal.values.events import Started, Token
from ledlocal_tui.app import LedlocalApp
from ledlocal_tui.loading import Loading

Script = Callable[[LedlocalApp, Pilot[Any]], Awaitable[None]]


def start_of(engine: FakeEngine, other: FakeEngine | None = None) -> Callable[[str | None], Engine]:
    return lambda model: engine if model is None else other or engine


def on_screen(script: Script, start: Callable[[str | None], Engine]) -> Callable[[Chat, Engine], Engine | None]:
    """What `/tui` does, with a script in the place of a user who leaves in the end."""

    def show(chat: Chat, engine: Engine) -> Engine | None:
        app = LedlocalApp.going_on(start, chat, engine)

        async def run() -> None:
            async with app.run_test(size=(120, 40)) as pilot:
                await until(pilot, lambda: app.chat.dialogue is chat and not app.chat.busy)
                await script(app, pilot)

        asyncio.run(run())
        app.finish_loading()
        return app.engine

    return show


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def chat_of(engine: FakeEngine, script: Script, path: Path | None = None, other: FakeEngine | None = None,
            **more: Any) -> Chat:
    start = start_of(engine, other)
    return Chat(start, Settings(seed=41), Console(), path=path, on_screen=on_screen(script, start), **more)


def test_there_and_back(engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for play in (reply("One."), thoughtful(), reply("Three.")):
        engine.enqueue(play)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "One." in screen_text(app))
        await say(app, pilot, "second")
        assert app.chat.dialogue is not None
        app.chat.dialogue.settings = app.chat.dialogue.settings.with_value("temp", "1")

    path = tmp_path / "c.jsonl"
    chat = chat_of(engine, script, path)
    chat.finish(chat.answer(chat.new("first")))
    capsys.readouterr()
    carry_out(chat, "/tui")
    err = capsys.readouterr().err
    assert "the conversation goes on after 2 turns; the last one:\n> second\n**Yes**.\n" in err
    assert chat.last is not None and chat.last.finished.thinking == "I so think wait" and engine.closed == 0
    chat.finish(chat.answer(chat.new("third")))
    said = [one.content for one in engine.requests[2].messages or ()]
    assert said == ["first", "One.", "second", "**Yes**.", "third"]
    assert engine.requests[2].thinking.temperature == 1 and chat.totals.answers == 3
    assert [turn.answer for turn in read_conversation(path).turns] == ["One.", "**Yes**.", "Three."]
    chat.note("said here")
    assert "note: said here\n" in capsys.readouterr().err
    chat.close()
    assert engine.closed == 1


def test_what_was_said_before_can_be_inspected(engine: FakeEngine) -> None:
    for play in (reply("One."), thoughtful(), [Started(2, 0, (1,), 0, 0.0), *thoughtful()[5:]]):
        engine.enqueue(play)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "I so◦ think" in screen_text(app))
        await until(pilot, lambda: "explored  2" in screen_text(app) and "changed   1" in screen_text(app))
        await pilot.press("f2", "n", "up", "f")
        await until(pilot, lambda: len(engine.requests) == 3 and not app.chat.busy)
        asked = engine.requests[2]
        assert asked.continues == (7, 8, 7, 7) and asked.messages == engine.requests[1].messages
        assert [len(view.tokens) for view in app.chat.conversation.turns] == [1, 7]

    chat = chat_of(engine, script)
    for text in ("first", "second"):
        chat.finish(chat.answer(chat.new(text)))
    carry_out(chat, "/tui")
    assert [turn.user for turn in chat.conversation.turns] == ["first", "second"]
    carry_out(chat, "/undo")
    chat.conversation = chat.conversation.with_turn(Turn("other"))  # nothing is known of another turn in its place
    assert chat.said(0) is not None and chat.said(1) is None


def test_a_reply_that_was_cut_has_its_own_numbers(engine: FakeEngine) -> None:
    engine.enqueue(thoughtful())
    Held(engine, died=True).gate.set()

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "tokens    3 thinking + 0 answer" in screen_text(app))
        assert "28.0 tokens/s" not in shown(app, "#counts")

    chat = chat_of(engine, script)
    chat.finish(chat.answer(chat.new("first")))
    with pytest.raises(EngineDied):
        chat.answer(chat.new("second"))
    carry_out(chat, "/tui")


def test_left_in_the_middle_of_a_reply(engine: FakeEngine, tmp_path: Path) -> None:
    held = Held(engine)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("h", "i", "enter")
        await until(pilot, lambda: "I so◦ think" in screen_text(app))

    path, trace = tmp_path / "c.jsonl", tmp_path / "t.jsonl"
    with closing(TraceWriter(trace)) as writer:
        chat = chat_of(engine, script, path, trace=writer)
        carry_out(chat, "/tui")
    assert engine.cancelled and chat.conversation.turns[0].thinking == "I so think"
    assert chat.conversation.turns[0].ids == (7, 8, 7) and len(read_conversation(path).turns) == 1
    assert [one.text for one in read_trace(trace)] == ["\nI", " so", " think"]
    held.gate.set()


def test_another_model_and_a_dead_one(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(app_module, "known", lambda _unreadable: iter([Location("other", Path(__file__), "hub")]))
    other = FakeEngine()
    other.enqueue([EngineDied("engine died (SIGKILL)")])
    other.enqueue(reply("Again."))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("f6")
        await until(pilot, lambda: app.screen is not app.chat)
        await pilot.pause(0.05)
        await pilot.press("enter")
        await until(pilot, lambda: app.engine is other)
        await say(app, pilot, "hi")
        assert "engine died (SIGKILL)" in shown(app, "#banner") and app.engine is None

    chat = chat_of(engine, script, other=other)
    carry_out(chat, "/tui")
    assert (engine.closed, other.closed, chat.model, chat.conversation.model) == (1, 1, "other", "other")
    err = capsys.readouterr().err
    assert "model     tiny\n" in err and "no engine runs; the next message loads one\n" in err
    assert chat.answer(chat.repeated()).finished.answer == "Again."
    assert len(other.requests) == 2


def test_without_a_screen(engine: FakeEngine) -> None:
    chat = Chat(lambda _model: engine, Settings(seed=41), Console())
    with pytest.raises(BadInput, match=r"^/tui needs a terminal that can be drawn on"):
        carry_out(chat, "/tui")
    assert engine.closed == 0


def test_what_can_be_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from ledlocal.terminal import drawable

    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", FakeTerminal())
    monkeypatch.setenv("TERM", "xterm")
    assert drawable()
    monkeypatch.setenv("TERM", "dumb")
    assert not drawable()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", None)
    assert not drawable()


def test_a_load_that_nobody_waits_for_is_closed(engine: FakeEngine) -> None:
    gate, told = threading.Event(), list[Loading]()

    def start() -> Engine:
        assert gate.wait(10)
        return engine

    loading = Loading(start, told.append)
    loading.drop()
    assert engine.closed == 0
    gate.set()
    assert loading.wait() is engine and engine.closed == 1 and not told


def test_leaving_while_it_loads_does_not_wait(engine: FakeEngine) -> None:
    gate = threading.Event()

    def start() -> Engine:
        gate.wait(10)
        return engine

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("x")
        app.exit()

    app = LedlocalApp(lambda _model: start(), Settings(), Conversation(), None)

    async def run() -> None:
        async with app.run_test() as pilot:
            await script(app, pilot)

    loading = threading.Timer(8, gate.set)
    loading.start()
    asyncio.run(run())
    assert engine.closed == 0 and not gate.is_set()  # it was left before the model was there
    app.drop_engine()
    loading.cancel()
    gate.set()


def test_the_next_answer_and_this_one_are_watched(engine: FakeEngine) -> None:
    held = Held(engine)
    engine.enqueue(thoughtful())

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("h", "i", "enter")
        await until(pilot, lambda: "I so◦ think" in screen_text(app))
        await pilot.press("ctrl+l")
        assert engine.watched == ["all"] and "5/256 tokens · every layer · led" in shown(app, "#status")
        await pilot.press("ctrl+l", "ctrl+l")
        assert engine.watched == ["all", "forks", "all"]
        held.gate.set()
        await until(pilot, lambda: app.chat.answering is None)
        await say(app, pilot, "b")
        assert [request.detail for request in engine.requests] == ["forks", "all"] and len(engine.watched) == 3

    drive(script, engine)


def test_a_trace_that_cannot_be_written_ends_the_reply(engine: FakeEngine) -> None:
    class Full(TraceWriter):
        def __init__(self) -> None:
            pass

        def write(self, token: Token) -> None:
            raise OutOfResources("t.jsonl: cannot write the trace: No space left on device")

        def sync(self) -> None:
            pass

    held = Held(engine)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("h", "i", "enter")
        await until(pilot, lambda: "No space left" in shown(app, "#banner"))
        assert engine.cancelled and "I so◦ think" in screen_text(app)
        held.gate.set()
        await until(pilot, lambda: app.chat.answering is None)

    chat = chat_of(engine, script, trace=Full())
    carry_out(chat, "/tui")
    assert chat.conversation.turns[0].finish == "cancelled"


def test_left_while_another_model_is_loaded(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "known", lambda _unreadable: iter([Location("other", Path(__file__), "hub")]))
    other, gate = FakeEngine(), threading.Event()

    def start(model: str | None) -> Engine:
        return other if model and gate.wait(10) else engine

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("f6")
        await until(pilot, lambda: app.screen is not app.chat)
        await pilot.pause(0.05)
        await pilot.press("enter")
        await until(pilot, lambda: shown(app, "#banner") == "loading other ...")
        threading.Timer(0.3, gate.set).start()

    chat = Chat(start, Settings(seed=41), Console(), on_screen=on_screen(script, start))
    other.enqueue(reply("Hello."))
    carry_out(chat, "/tui")
    assert (chat.model, chat.conversation.model, engine.closed, other.closed) == ("other", "other", 1, 0)
    assert chat.answer(chat.new("hi")).finished.answer == "Hello."
