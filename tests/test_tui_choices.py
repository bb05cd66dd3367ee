"""What is chosen in the terminal UI: settings, conversations, models; help and the palette."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, reply
from screens import drive, say, screen_text, shown, until
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

import ledlocal_tui.app as app_module
from ledlocal.conversation import Conversation, Turn, names, path_of, write
from ledlocal.models import DEMO
from ledlocal.settings import Settings
from ledlocal.stores.location import Location
from ledlocal.values.errors import BadInput
from ledlocal_tui.app import LedlocalApp
from ledlocal_tui.screens.help import HelpScreen
from ledlocal_tui.screens.inspector import Inspector
from ledlocal_tui.screens.page import Page
from ledlocal_tui.screens.picker import Picker
from ledlocal_tui.screens.settings import FIELDS, SettingsDrawer
from ledlocal_tui.widgets.prompt import Prompt
from ledlocal_tui.widgets.turn import TurnView


def engine(*replies: str) -> FakeEngine:
    one = FakeEngine()
    for text in replies:
        one.enqueue(reply(text))
    return one


def drawer(app: LedlocalApp) -> SettingsDrawer:
    assert isinstance(app.screen, SettingsDrawer)
    return app.screen


def field(app: LedlocalApp, name: str) -> Input:
    return drawer(app).query_one(f"#field-{name}", Input)


async def opened(app: LedlocalApp, pilot: Pilot[Any], key: str, screen: type) -> None:
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, screen))
    await pilot.pause(0.05)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_settings_hold_from_the_next_answer_on(size: tuple[int, int]) -> None:
    one = engine("first", "second")

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "hi")
        await opened(app, pilot, "f4", SettingsDrawer)
        assert {name: field(app, name.replace(".", "-")).value for name in FIELDS} == {
            "method": "led", "preset": "", "d": "8", "k": "8", "norm": "off", "scope": "thinking", "think.temp": "0.6",
            "answer.temp": "0.6", "top_k": "20", "top_p": "0.95", "min_p": "0", "budget": "", "max_tokens": "",
            "reasoning": "auto", "seed": "41"}
        field(app, "think-temp").value = "1.2"
        field(app, "budget").value = "50"
        await pilot.pause(0.05)
        assert "temp 1.2 · k 8" in shown(app, "#effective") and "thinking budget 50" in shown(app, "#effective")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is app.chat)
        assert "temp 1.2" in shown(app, "#status")
        await say(app, pilot, "again")
        first, second = one.requests
        assert (first.thinking.temperature, first.reasoning_budget) == (0.6, None)
        assert (second.thinking.temperature, second.answer.temperature, second.reasoning_budget) == (1.2, 0.6, 50)
        assert (second.seed, second.answer) == (first.seed, first.answer)

    drive(script, one, size)


def test_wrong_settings_are_said_and_not_taken() -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        assert app.chat.dialogue is not None
        before = app.chat.dialogue.settings
        await opened(app, pilot, "f4", SettingsDrawer)
        for name, value, said in (("method", "best", "method must be one of"), ("think-temp", "hot", "takes a number"),
                                  ("d", "12", "loaded for a depth of 8"), ("k", "0", "k must be a number from 1")):
            kept, field(app, name).value = field(app, name).value, value
            await pilot.press("enter")
            await pilot.pause(0.05)
            assert said in shown(app, "#said") and isinstance(app.screen, SettingsDrawer)
            field(app, name).value = kept
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        assert app.chat.dialogue.settings == before == Settings(seed=41)

    drive(script, engine())


def test_the_seed_that_is_shown_is_taken() -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        assert app.chat.dialogue is not None
        await opened(app, pilot, "f4", SettingsDrawer)
        field(app, "seed").value = "-1"
        await until(pilot, lambda: "seed 41" not in shown(app, "#effective"))
        seen = shown(app, "#effective")
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is app.chat)
        assert f"seed {app.chat.dialogue.settings.seed} ·" in seen

    drive(script, engine())


def test_a_kept_conversation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for name, text in (("about-tea", "Which tea?"), ("about-cats", "Which cat?")):
        kept = Conversation(model="m", turns=(Turn(text, answer=f"answer to {text}"),))
        write(path_of(name), "\n".join(kept.lines()) + "\n")
    assert len(names()) == 2
    one = engine("more")

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await opened(app, pilot, "f5", Picker)
        assert app.screen.query_one(OptionList).option_count == 2
        await pilot.press(*"tea")
        await pilot.pause(0.05)
        assert app.screen.query_one(OptionList).option_count == 1
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is app.chat and len(app.chat.query(TurnView)) == 1)
        await until(pilot, lambda: "answer to Which tea?" in screen_text(app))
        await say(app, pilot, "go on")
        messages = one.requests[0].messages
        assert messages is not None
        assert [one.content for one in messages] == ["Which tea?", "answer to Which tea?", "go on"]

    drive(script, one, path=tmp_path / "new.jsonl")
    assert "go on" in path_of("about-tea").read_text()


def test_a_list_without_a_name_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await opened(app, pilot, "f7", Picker)
        assert shown(app, "#said") == "none is here or in ./runs: `ledlocal eval` makes one"
        await pilot.press("x")
        await until(pilot, lambda: shown(app, "#said") == "enter takes what is typed")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        await opened(app, pilot, "f5", Picker)
        assert shown(app, "#said") == "none is kept yet"
        await pilot.press("x")
        await until(pilot, lambda: shown(app, "#said") == "nothing has that")
        await pilot.press("enter")
        assert isinstance(app.screen, Picker)

    drive(script, engine())


def test_commands_of_the_chat_are_no_messages(tmp_path: Path) -> None:
    one = engine("yes", "again", "a path")

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        prompt = app.chat.query_one(Prompt)

        async def typed(line: str) -> None:
            prompt.clear()
            prompt.take(line)
            await pilot.press("enter")
            await pilot.pause(0.05)

        await typed("/continue")
        assert (prompt.text, shown(app, "#banner")) == ("/continue", "not now")
        await typed("/edit")
        assert (prompt.text, shown(app, "#banner")) == ("/edit", "/edit is a command of `ledlocal chat` alone")
        await typed("/nothing at all")
        assert (prompt.text, shown(app, "#banner")) == (
            "/nothing at all", "no command /nothing; /help lists them")
        await typed("/undo")
        assert (prompt.text, shown(app, "#banner")) == ("/undo", "nothing to undo")
        await typed("/set temp 2")
        assert "temp 2 ·" in shown(app, "#banner") and "temp 2 ·" in shown(app, "#status") and not prompt.text
        await typed("/set temp much")
        assert "temp" in shown(app, "#banner") and prompt.text == "/set temp much"
        await typed("/set")
        await until(pilot, lambda: isinstance(app.screen, SettingsDrawer))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        await typed("hi")
        await until(pilot, lambda: len(one.requests) == 1 and not app.chat.busy)
        await typed("/retry")
        await until(pilot, lambda: len(one.requests) == 2 and not app.chat.busy and prompt.text == "")
        await typed("/etc/passwd ?")
        await until(pilot, lambda: len(one.requests) == 3 and not app.chat.busy)
        messages = one.requests[2].messages
        assert messages is not None and messages[-1].content == "/etc/passwd ?"
        await typed("/undo")
        await until(pilot, lambda: len(app.chat.conversation.turns) == 1)
        await typed(f"/save {tmp_path}/mine.jsonl")
        await until(pilot, lambda: "mine.jsonl; every answer is added to it" in shown(app, "#banner"))
        await typed("/show info")
        await until(pilot, lambda: isinstance(app.screen, Page) and "shape     llama · 12 layers" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        await typed("/clear")
        await until(pilot, lambda: app.chat.dialogue is not None and not app.chat.dialogue.conversation.turns)
        await typed(f"/load {tmp_path}/mine.jsonl")
        await until(pilot, lambda: len(app.chat.conversation.turns) == 1 and "again" in screen_text(app))
        await typed("/quit")
        await until(pilot, lambda: not app.is_running)

    drive(script, one)


@pytest.mark.parametrize(("line", "name", "value", "seen"), [
    ("/seed 5", "seed", "5", "seed 5"), ("/set temp 2", "temp", "2", "temp 2"),
    ("/set think.temperature 2", "think.temp", "2", "temp 2"), ("/set order paper", "order", "paper", "limits"),
    ("/method standard", "method", "standard", "standard"), ("/think off", "reasoning", "off", "reasoning off")])
def test_a_setting_in_a_command_is_changed(line: str, name: str, value: str, seen: str) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        assert app.chat.dialogue is not None
        before = app.chat.dialogue.settings
        app.chat.query_one(Prompt).take(line)
        await pilot.press("enter")
        await until(pilot, lambda: seen in shown(app, "#banner"))
        assert app.chat.dialogue.settings == before.with_value(name, value) != before

    drive(script, engine())


@pytest.mark.parametrize(("line", "said"), [
    ("/load about-tea", "about-tea.jsonl: "), ("/quit now", "/quit takes nothing"),
    ("/set temp", "/set takes a name and a value"), ("/set nothing 1", "no setting 'nothing'"),
    ("/set temp hot", "takes a number"), ("/seed 5 6", "seed takes a whole number, not '5 6'"),
    ("/think maybe", "reasoning must be one of")])
def test_a_command_that_cannot_be_had_is_refused(line: str, said: str) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        app.chat.query_one(Prompt).take(line)
        await pilot.press("enter")
        await until(pilot, lambda: said in shown(app, "#banner"))
        assert app.screen is app.chat and app.chat.query_one(Prompt).text == line

    drive(script, engine())


def test_another_model_takes_the_conversation_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "known", lambda _unreadable: iter(
        [Location("demo", Path(__file__), "embedded"), Location("other/model", Path(__file__), "hub")]))
    first, second, asked = engine("one"), engine("two"), []

    def start(name: str | None) -> FakeEngine:
        asked.append(name)
        if name == "missing.gguf":
            raise BadInput("missing.gguf: no such file")
        return first if name is None else second

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        app._start = start
        await say(app, pilot, "hi")
        await opened(app, pilot, "f6", Picker)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.engine is second)
        assert first.closed == 1
        await pilot.press("f2")  # its tokens mean nothing to this model
        await until(pilot, lambda: isinstance(app.screen, Inspector) and app.screen.is_mounted)
        assert "l" not in app.screen.active_bindings or not app.screen.active_bindings["l"].enabled
        assert app.screen.check_action("project", ()) is False
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        await say(app, pilot, "and now")
        assert second.requests[0].messages is not None and len(second.requests[0].messages) == 3
        assert app.chat.dialogue is not None and app.chat.dialogue.conversation.model == "other/model"
        await opened(app, pilot, "f6", Picker)
        await pilot.press(*"missing.gguf", "enter")
        await until(pilot, lambda: "no such file" in shown(app, "#banner"))
        assert asked == ["other/model", "missing.gguf"] and second.closed == 1
        assert app.chat.dialogue.conversation.model == "other/model"
        await pilot.press("ctrl+r")  # back to the one before
        await until(pilot, lambda: app.engine is second)
        assert asked[-1] == "other/model"
        await opened(app, pilot, "f6", Picker)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)

    drive(script, first)


def test_one_model_in_two_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [Location("same", Path(__file__), "LM Studio")] * 2
    monkeypatch.setattr(app_module, "known", lambda _unreadable: iter(twice))
    first, second = engine("one"), engine("two")
    first.loaded = replace(first.loaded, model=replace(first.loaded.model, path=str(DEMO)))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        assert "number puzzle" in app.chat.query_one(Prompt).placeholder
        app._start = lambda _name: second
        app.chat.say("what was said before")
        await opened(app, pilot, "f6", Picker)
        assert app.screen.query_one(OptionList).option_count == 2
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        assert shown(app, "#banner") == "what was said before"
        await opened(app, pilot, "f6", Picker)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.engine is second)
        await until(pilot, lambda: "number puzzle" not in app.chat.query_one(Prompt).placeholder)

    drive(script, first)


def test_an_engine_that_closes_slowly_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "known", lambda _unreadable: iter([Location("other", Path(__file__), "hub")]))
    first, second, closing = engine("one"), engine("two"), threading.Event()
    close = first.close
    monkeypatch.setattr(first, "close", lambda: (closing.wait(10), close()))

    def start(name: str | None) -> FakeEngine:
        assert name is None or first.closed == 1  # both at once may not fit
        return first if name is None else second

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        app._start = start
        await opened(app, pilot, "f6", Picker)
        await pilot.press("enter", *"meanwhile")
        await until(pilot, lambda: app.chat.query_one(Prompt).text == "meanwhile")
        assert shown(app, "#banner") == "loading other ..." and app.engine is None and not first.closed
        closing.set()
        await until(pilot, lambda: app.engine is second)

    drive(script, first)


def test_help_and_palette_have_every_key() -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "hi")
        await opened(app, pilot, "f1", HelpScreen)
        keys = dict(line.split(maxsplit=1) for line in shown(app, "#keys").splitlines())
        assert {"f3": "duel", "f4": "setup", "f5": "history", "f6": "models"}.items() <= keys.items()
        assert "answer now" not in keys.values()  # nothing is answered now
        assert "another token was drawn" in screen_text(app)
        await pilot.press("f1")
        await until(pilot, lambda: app.screen is app.chat)
        commands = {command.title for command in app.get_system_commands(app.screen)}
        assert {"Duel", "Setup", "History", "Models", "Fold", "Again", "Theme"} <= commands
        await pilot.press("ctrl+p")
        await pilot.pause(0.1)
        commands = {command.title for command in app.get_system_commands(app.chat)}
        assert {"Duel", "Setup"} <= commands
        await pilot.press(*"setup")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SettingsDrawer))

    drive(script, engine("yes"), (120, 50))
