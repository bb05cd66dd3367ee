"""The chat screen on scripted engines: every key, every state, the numbers shown against the events."""

from __future__ import annotations

import gc
import re
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import LOADED, FakeEngine, finished, reply, token
from screens import drive, say, screen_text, shown, too_wide, until
from test_tui_numbers import FORK
from textual.pilot import Pilot

from ledlocal.conversation import Conversation, Turn, read_conversation
from ledlocal.settings import Settings
from ledlocal.values.errors import BadInput, EngineDied
from ledlocal.values.events import Event, Exploration, Notice, Started
from ledlocal_tui.app import LedlocalApp
from ledlocal_tui.application import HANDLED
from ledlocal_tui.messages import Submitted
from ledlocal_tui.screens.help import HelpScreen
from ledlocal_tui.screens.inspector import Inspector
from ledlocal_tui.screens.picker import Picker
from ledlocal_tui.screens.settings import SettingsDrawer
from ledlocal_tui.widgets.exploration import ExplorationPane
from ledlocal_tui.widgets.prompt import Prompt
from ledlocal_tui.widgets.strip import ExplorationStrip
from ledlocal_tui.widgets.token_text import TokenText
from ledlocal_tui.widgets.turn import TurnView

EXPLORED = Exploration(2, 1, (1, 0, 1), 0.75)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def thoughtful() -> list[Event]:
    """Five thinking tokens, two of them explored, one changed; two of an answer."""
    same = replace(FORK, i=1, changed=False, depth=0, text=" so")
    tokens = [token("\nI", "thinking", 0), same, token(" think", "thinking", 2), replace(FORK, text=" wait"),
              token("", "thinking", 4, marker=True), token("**Yes**", "answer", 5), token(".", "answer", 6)]
    end = replace(finished("**Yes**.", "I so think wait"), thinking_tokens=5, answer_tokens=2, led=EXPLORED,
                  ids=(7,) * 7)
    return [Started(1, 0, (1, 2), 0, 0.1), *tokens, end]


def test_a_reply_and_its_numbers(engine: FakeEngine) -> None:
    engine.enqueue(thoughtful())

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        assert shown(app, "#status").startswith("tiny · 0/256 tokens · led · temp 0.6 · k 8 · d 8")
        await say(app, pilot, "well?")
        assert shown(app, "#status").startswith("tiny · 10/256 tokens")
        counts = shown(app, "#counts").splitlines()
        assert counts[1:] == ["tokens    5 thinking + 2 answer", "explored  2 · 40.0 %", "changed   1 · 20.0 %"]
        await until(pilot, lambda: "last fork ␣wait" in screen_text(app))
        text = screen_text(app)
        for words in ("well?", "▾ thinking · 5 tokens", "I so◦ think wait•", "Yes.",
                      "5 thinking + 2 answer tokens · 28.0 tokens/s · explored 2, changed 1",
                      "depth   0 ", "        2 ", "1 · 50 %", "last fork ␣wait · token 3 · another",
                      "␣wait      0.200  0.562"):
            assert words in text, words
        assert [request.messages[-1].content for request in engine.requests if request.messages] == ["well?"]
        assert engine.requests[0].seed == 41 and engine.requests[0].detail == "forks"

    drive(script, engine)


def explored_answer() -> list[Event]:
    """Two tokens of a thought; five of an answer, the third and the fifth one equal and explored."""
    tokens = [token("\nHm", "thinking", 0), token("", "thinking", 1, marker=True), token("\n\n", "answer", 2),
              token("**No**", "answer", 3), replace(FORK, phase="answer", text=" wait"), token(",", "answer", 5),
              replace(FORK, phase="answer", text=" wait")]
    end = replace(finished("**No** wait, wait", "Hm"), thinking_tokens=2, answer_tokens=5, led=EXPLORED, ids=(7,) * 7)
    return [Started(1, 0, (1, 2), 0, 0.1), *tokens, end]


def test_an_answer_that_explored_has_its_tokens_marked(engine: FakeEngine) -> None:
    engine.enqueue(explored_answer())
    engine.enqueue(thoughtful())

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "a")
        await until(pilot, lambda: "**No** wait•, wait•" in screen_text(app))
        await say(app, pilot, "b")  # nothing of this answer was explored: Markdown
        await until(pilot, lambda: "Yes." in screen_text(app))
        assert "**Yes**" not in screen_text(app)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "**Yes**." in screen_text(app) and "**No** wait•, wait•" in screen_text(app))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "No wait, wait" in screen_text(app) and "**" not in screen_text(app))

    drive(script, engine)


def test_shares_are_of_what_may_explore(engine: FakeEngine) -> None:
    """With scope all an answer may, whether a token of it did or not."""
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), replace(FORK, i=0), *(token("a ", "answer", i) for i in range(1, 10)),
                    finished("a")])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        assert app.chat.dialogue is not None
        app.chat.dialogue.settings = app.chat.dialogue.settings.with_value("scope", "all")
        await say(app, pilot, "a")
        assert "explored  1 · 10.0 %" in shown(app, "#counts")

    drive(script, engine)


def test_a_click_on_a_token_of_an_answer_inspects_it(engine: FakeEngine) -> None:
    """The second one of two equal tokens, too."""
    engine.enqueue(explored_answer())

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "a")
        text = app.screen.query_one("Answer TokenText", TokenText)
        await pilot.click(text, offset=("**No** wait•, wait•".rindex("wait"), 0))
        await until(pilot, lambda: isinstance(app.screen, Inspector))
        assert isinstance(app.screen, Inspector) and app.screen.at == 6

    drive(script, engine)


def test_an_answer_read_from_a_file_stays_markdown(engine: FakeEngine) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "Two." in screen_text(app))
        await pilot.press("ctrl+o")
        await pilot.pause()
        assert "Two." in screen_text(app) and "**" not in screen_text(app)

    drive(script, engine, conversation=Conversation(model="m").with_turn(Turn("1+1?", "**Two**.", "Hm.")))


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_one_speed_for_one_reply(engine: FakeEngine, size: tuple[int, int]) -> None:
    """Beside the text and below it: 7 tokens in the 0.25 s that the engine measured."""
    engine.enqueue(thoughtful())

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "well?")
        await until(pilot, lambda: "tokens · 28.0 tokens/s" in screen_text(app))
        assert "answer    28.0 tokens/s · 0 s" in screen_text(app) or "5 thinking + 2 answer · 28/s" in screen_text(app)

    drive(script, engine, size)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_what_looking_into_every_layer_costs_is_seen(engine: FakeEngine, size: tuple[int, int]) -> None:
    engine.enqueue(thoughtful())
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), *(play for i in range(30) for play in (
        token("x ", "thinking", i), lambda: time.sleep(0.05))), finished("", "x " * 30)])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "a")
        app.chat.looking._known[False] = 50.0
        await pilot.press("ctrl+l", "b", "enter")
        await until(pilot, lambda: re.search(r"all \d+\.\d · forks 50\.0", screen_text(app)))
        await until(pilot, lambda: not app.chat.busy)
        await until(pilot, lambda: re.search(r"all \d+\.\d · forks 50\.0", screen_text(app)))

    drive(script, engine, size)


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_sparklines_take_the_room(engine: FakeEngine, columns: int) -> None:
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), *(token("so ", "thinking", i) for i in range(300)),
                    replace(finished("", "so"), thinking_tokens=300)])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "x")
        await until(pilot, lambda: "p_top1" in screen_text(app))
        [line] = [line for line in screen_text(app).splitlines() if "p_top1" in line]
        room = {60: 60 - 2 - 7, 80: 80 - 2 - 7, 120: 46 - 3 - 15, 200: 68 - 3 - 15}[columns]
        assert line.count("▇") == room and len(line) == columns

    drive(script, engine, (columns, 40))


@pytest.mark.parametrize("columns", [99, 100])
def test_the_pane_needs_100_columns(engine: FakeEngine, columns: int) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.pause(0.1)
        seen = [bool(app.screen.query_one(part).size) for part in (ExplorationPane, ExplorationStrip)]
        assert seen == [columns == 100, columns < 100]

    drive(script, engine, (columns, 30))


def test_what_the_terminal_lent_is_given_back(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Textual takes signals and never gives them back; a chat goes on after the screen."""
    app = LedlocalApp(lambda _name: engine, Settings(seed=1), Conversation(model="m"), None)
    before = {number: signal.getsignal(number) for number in HANDLED}, gc.get_threshold()

    def run() -> None:
        gc.set_threshold(5)
        for number in HANDLED:
            signal.signal(number, lambda _number, _frame: None)

    monkeypatch.setattr(app, "run", run)
    app.show()
    assert ({number: signal.getsignal(number) for number in HANDLED}, gc.get_threshold()) == before


def test_a_narrow_terminal_has_two_lines(engine: FakeEngine) -> None:
    engine.enqueue(thoughtful())

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "well?")
        await until(pilot, lambda: "5 thinking + 2 answer" in screen_text(app))
        text = screen_text(app)
        assert "5 thinking + 2 answer" in text and "explored 2, changed 1" in text and "last fork" not in text
        assert too_wide(app) == []

    drive(script, engine, (80, 24))


def test_the_conversation_is_kept_and_goes_on(engine: FakeEngine, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    engine.enqueue(reply("Four."))
    engine.enqueue(reply("Five."))
    before = Conversation(model="m").with_turn(Turn("1+1?", "Two.", "Hm, hm."))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "1+1?" in screen_text(app) and "▸ thinking · 2 words" in screen_text(app))
        await say(app, pilot, "2+2?")
        assert [turn.answer for turn in read_conversation(path).turns] == ["Two.", "Four."]
        await pilot.press("ctrl+r")
        await until(pilot, lambda: len(engine.requests) == 2 and app.chat.answering is None)
        await pilot.pause(0.1)
        assert [turn.answer for turn in read_conversation(path).turns] == ["Two.", "Five."]
        assert engine.requests[1].first_sample == 1 and len(app.screen.query(TurnView)) == 2
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert not app.screen.query(TurnView) and app.chat.dialogue is not None and app.chat.dialogue.path != path

    drive(script, engine, conversation=before, path=path)


class Held:
    """A reply that waits in the middle until it is let go."""

    def __init__(self, engine: FakeEngine, *, died: bool = False) -> None:
        self.gate = threading.Event()
        events = thoughtful()
        rest = [EngineDied("engine died (SIGKILL)")] if died else events[4:]
        engine.enqueue([*events[:4], lambda: self.gate.wait(10) and None, *rest])


def test_stop_and_answer_now(engine: FakeEngine) -> None:
    held = Held(engine)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("h", "i", "enter")
        await until(pilot, lambda: "I so◦ think" in screen_text(app))
        await until(pilot, lambda: "stop" in screen_text(app) and "answer now" in screen_text(app))
        await pilot.press("ctrl+e")
        assert engine.answered == 1
        await pilot.press("m", "enter")  # a second message waits with the user
        assert shown(app, "#banner") == "it answers; ctrl+c stops it" and app.screen.query_one(Prompt).text == "m"
        await pilot.press("ctrl+c")
        assert engine.cancelled
        held.gate.set()
        await until(pilot, lambda: "finish: cancelled" in screen_text(app))
        assert app.chat.dialogue is not None and app.chat.dialogue.conversation.turns[0].ids == (7,) * 7
        engine.enqueue(thoughtful())
        await pilot.press("ctrl+g")
        await until(pilot, lambda: len(engine.requests) == 2 and app.chat.answering is None)
        assert engine.requests[1].continues == (7,) * 7 and len(app.screen.query(TurnView)) == 1

    drive(script, engine)


def test_a_dead_engine_costs_no_word_and_another_one_answers(engine: FakeEngine, tmp_path: Path) -> None:
    second, path = FakeEngine(), tmp_path / "c.jsonl"
    second.enqueue(reply("Here again."))
    held = Held(engine, died=True)
    engines = [engine, second]

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("h", "i", "enter")
        await until(pilot, lambda: "I so◦ think" in screen_text(app))
        held.gate.set()
        await until(pilot, lambda: app.chat.answering is None)
        assert "engine died (SIGKILL)" in shown(app, "#banner") and engine.closed == 1
        [turn] = read_conversation(path).turns
        assert (turn.thinking, turn.finish, len(turn.ids)) == ("I so think", "cancelled", 3)
        await say(app, pilot, "lost?")
        assert shown(app, "#banner") == "no engine runs; ctrl+r loads the model again"
        assert [turn.user for turn in read_conversation(path).turns] == ["hi", "lost?"]
        assert len(app.screen.query(TurnView)) == 2
        await pilot.press("ctrl+r")
        await until(pilot, lambda: shown(app, "#banner") == "")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "Here again." in screen_text(app) and app.chat.answering is None)
        assert [turn.answer for turn in read_conversation(path).turns] == ["", "Here again."]

    drive(script, lambda: engines.pop(0), path=path)
    assert second.closed == 1


def test_what_does_not_load_is_said_and_can_be_tried_again(engine: FakeEngine) -> None:
    tries = [BadInput("m.gguf: no such file"), None]

    def start() -> FakeEngine:
        if error := tries.pop(0):
            raise error
        return engine

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        assert shown(app, "#banner") == "m.gguf: no such file\nctrl+r tries again"
        await pilot.press("x", "enter")
        assert shown(app, "#banner") == "the model is not ready" and app.screen.query_one(Prompt).text == "x"
        await pilot.press("ctrl+r")
        await until(pilot, lambda: app.chat.dialogue is not None)
        assert shown(app, "#banner") == ""

    drive(script, start)


def test_the_end_is_followed_unless_the_user_has_scrolled_back(engine: FakeEngine) -> None:
    gates = [threading.Event() for _ in range(3)]
    waits = [lambda gate=gate: gate.wait(10) and None for gate in gates]
    lines = [token(f"line {n}\n", "thinking", n) for n in range(400)]
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), *lines[:100], waits[0], *lines[100:200], waits[1], *lines[200:300],
                    waits[2], *lines[300:], replace(finished("", "x"), thinking_tokens=400)])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        view = app.chat.conversation
        await pilot.press("x", "enter")
        await until(pilot, lambda: "line 99 " in screen_text(app))
        gates[0].set()
        await until(pilot, lambda: "line 199" in screen_text(app))
        await pilot.press("escape", "home")
        await until(pilot, lambda: "line 0 " in screen_text(app))
        gates[1].set()
        await until(pilot, lambda: view.max_scroll_y > 260)
        assert "line 0 " in screen_text(app) and "line 199" not in screen_text(app)
        await pilot.press("end")
        await until(pilot, lambda: "line 299" in screen_text(app))
        gates[2].set()
        await until(pilot, lambda: "line 399" in screen_text(app) and app.chat.answering is None)
        await pilot.press("ctrl+t")  # what is left is less than the room: from the top
        await until(pilot, lambda: view.scroll_y == 0)
        assert screen_text(app).splitlines()[1].split()[0] == "x"

    drive(script, engine)


def test_keys_of_the_view(engine: FakeEngine) -> None:
    engine.enqueue(thoughtful())
    engine.enqueue(thoughtful())

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "a")
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "▸ thinking · 5 tokens" in screen_text(app) and "I so◦" not in screen_text(app))
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "I so◦ think" in screen_text(app))
        await pilot.click(".thought-head")
        assert app.screen.query_one(TurnView).has_class("-folded")
        await pilot.press("tab", "ctrl+l")  # the click was on the conversation
        await say(app, pilot, "b")
        assert [request.detail for request in engine.requests] == ["forks", "all"]

    drive(script, engine)


def test_typing(engine: FakeEngine) -> None:
    for _ in range(2):
        engine.enqueue(reply("ok"))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("a", "ctrl+j", "b", "enter")
        await until(pilot, lambda: app.chat.answering is None and engine.requests)
        await say(app, pilot, "c")
        assert [request.messages[-1].content for request in engine.requests if request.messages] == ["a\nb", "c"]
        prompt = app.screen.query_one(Prompt)
        await pilot.press("up")
        assert prompt.text == "c"
        await pilot.press("up")
        assert prompt.text == "a\nb"
        await pilot.press("down", "down")
        assert prompt.text == ""
        await pilot.press("enter")  # nothing to send
        assert len(engine.requests) == 2
        await pilot.press("escape")
        assert app.focused is not None and app.focused.id == "conversation"
        await pilot.press("escape")
        assert app.focused is prompt

    drive(script, engine)


def test_letters_are_never_lost(engine: FakeEngine) -> None:
    engine.enqueue(thoughtful())

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        prompt = app.screen.query_one(Prompt)
        await pilot.press("escape", *"did it", "escape")  # no duel without a message: a letter
        assert prompt.text == "did it" and app.focused is not prompt
        await pilot.press("!")
        assert prompt.text == "did it!" and app.focused is prompt
        prompt.text = ""
        await say(app, pilot, "well?")
        await pilot.press("escape", "t", "h", "i", "d")
        assert prompt.text == "thid" and app.screen is app.chat
        await pilot.press("escape", "i")
        await until(pilot, lambda: isinstance(app.screen, Inspector))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)
        assert prompt.text == "thid"

    drive(script, engine)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_the_function_keys_are_seen(engine: FakeEngine, size: tuple[int, int]) -> None:
    engine.enqueue(thoughtful())

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "well?")
        await until(pilot, lambda: "f3 duel" in screen_text(app))
        last = screen_text(app).splitlines()[-1]
        assert last.split()[:16] == ["f1", "help", "f2", "inspect", "f3", "duel", "^n", "new", "^q", "quit", "f4",
                                     "setup", "f5", "history", "f6", "models"]
        await pilot.press("escape")
        await until(pilot, lambda: screen_text(app).splitlines()[-1].split()[:8] == [
            "f1", "help", "i", "inspect", "d", "duel", "^n", "new"])
        assert "esc type" in screen_text(app).splitlines()[-1]
        await pilot.press("ctrl+n")
        await until(pilot, lambda: "0/256 tokens" in shown(app, "#status"))

    drive(script, engine, size)


def test_a_mistake_of_ours_is_seen(engine: FakeEngine) -> None:
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), token("so", "thinking", 0), RuntimeError("nobody foresaw [this]")])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "x")
        assert shown(app, "#banner") == "unexpected RuntimeError: nobody foresaw [this]"
        assert app.chat.dialogue is not None and app.chat.dialogue.conversation.turns[0].thinking == "so"

    drive(script, engine)


def test_foreign_text_obeys_nobody(engine: FakeEngine) -> None:
    """Neither markup nor control sequences of a model, a file or a notice reach the terminal."""
    evil = "[red]x[/red]\x1b[2J[@click=app.quit]y[/]"
    loaded = replace(LOADED, model=replace(LOADED.model, name=evil), notices=(evil,))
    engine.loaded = loaded
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), Notice(1, evil), token(evil, "thinking", 0), token(evil, "answer", 1),
                    replace(finished(evil, evil), finish="invalid", reason=evil)])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "x")
        text = screen_text(app)
        assert "\x1b" not in text and text.count("[red]x[/red]␛[2J") >= 4

    drive(script, engine, (200, 40))


def test_no_event_is_lost_of_a_long_thought(engine: FakeEngine) -> None:
    count = 30_000
    tokens = [replace(token(f" w{i % 10}", "thinking", i), entropy=i / count) for i in range(count)]
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), *tokens, replace(finished("", "w"), thinking_tokens=count)])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "x")
        assert f"tokens    {count} thinking + 0 answer" in shown(app, "#counts")
        assert "▾ thinking · 30000 tokens" in next(str(head.visual) for head in app.screen.query(".thought-head"))
        assert "w9" in screen_text(app)

    drive(script, engine)


def test_the_answer_is_markdown(engine: FakeEngine) -> None:
    text = "# Head\n\n- one\n- two"
    letters = [token(letter, i=i) for i, letter in enumerate(text)]
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), *letters, finished(text)])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "x")
        await until(pilot, lambda: "• two" in screen_text(app))
        assert "Head" in screen_text(app) and "#" not in screen_text(app)

    drive(script, engine)


def test_two_keys_at_once_are_one_answer(engine: FakeEngine) -> None:
    """Ctrl-R in the same moment as Enter: the message is answered, nothing is asked twice, none is lost."""
    for answer in ("one", "two"):
        engine.enqueue(reply(answer))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "first")
        app.chat.post_message(Submitted("second"))
        await app.chat.action_again()
        await until(pilot, lambda: not app.chat.busy and len(engine.requests) == 2)
        await pilot.pause(0.2)
        assert app.chat.dialogue is not None
        turns = [(turn.user, turn.answer) for turn in app.chat.dialogue.conversation.turns]
        assert turns in ([("first", "one"), ("second", "two")], [("first", "two")])
        assert len(app.chat.conversation.turns) == len(turns)
        if len(turns) == 1:  # the key came first: the message waits in the prompt
            assert app.screen.query_one(Prompt).text == "second"

    drive(script, engine)


def test_a_reply_is_kept_before_it_is_drawn_to_its_end(engine: FakeEngine, tmp_path: Path) -> None:
    engine.enqueue(reply("kept"))
    path = tmp_path / "c.jsonl"

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        view_finish, seen = TurnView.finish, []

        async def slow(view: TurnView, words: str) -> None:
            seen.append((path.exists() and "kept" in path.read_text(), app.chat.busy))
            await view_finish(view, words)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TurnView, "finish", slow)
            await say(app, pilot, "x")
        assert seen == [(True, True)]  # and no key that would take the turn away was offered meanwhile

    drive(script, engine, path=path)


def test_a_kept_thought_goes_on_in_sight(engine: FakeEngine) -> None:
    kept = Conversation(turns=(Turn("q", "", "so far", "cancelled", ids=(7, 7)),), model="m")
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), token(" farther", "thinking", 2), token("yes", i=3),
                    finished("yes", "so far farther")])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("ctrl+g")
        await until(pilot, lambda: not app.chat.busy and engine.requests)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "farther" in screen_text(app))
        assert "so far" in screen_text(app) and "2 words + 1 tokens" in screen_text(app)

    drive(script, engine, conversation=kept)


def test_every_function_key_works_while_the_prompt_has_the_focus(engine: FakeEngine) -> None:
    engine.enqueue(reply("yes", "hm"))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "x")
        for key, screen in (("f1", HelpScreen), ("f2", Inspector), ("f4", SettingsDrawer), ("f5", Picker),
                            ("f6", Picker), ("f7", Picker)):
            assert isinstance(app.focused, Prompt)
            await pilot.press(key)
            await until(pilot, lambda screen=screen: isinstance(app.screen, screen))
            await pilot.press("escape")
            await until(pilot, lambda: app.screen is app.chat)

    drive(script, engine)


def test_the_engine_is_closed_in_the_end(engine: FakeEngine) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("ctrl+q")

    drive(script, engine)
    assert engine.closed == 1


def test_every_finish_ends_a_reply(engine: FakeEngine) -> None:
    engine.enqueue([replace(finished("x"), finish="length", reason="the context of 8 tokens is full")])
    engine.enqueue([])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "a")
        assert "finish: length (the context of 8 tokens is full)" in screen_text(app)
        await say(app, pilot, "b")
        assert "the engine ended a reply without finishing it" in screen_text(app)

    drive(script, engine)
