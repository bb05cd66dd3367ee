"""The token inspector: on scripted engines, and on the demo model against what was traced."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine, finished, token
from rich.cells import cell_len
from screens import drive, say, screen_text, shown, until
from test_tui_chat import thoughtful
from test_tui_numbers import FORK
from textual.containers import VerticalScroll
from textual.events import MouseEvent, MouseScrollDown, MouseScrollUp
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets._footer import FooterKey

from ledlocal.conversation import Conversation, Turn, read_conversation
from ledlocal.models import DEMO
from ledlocal.said import ids_of
from ledlocal.trace import read_trace
from ledlocal.values.errors import OutOfResources
from ledlocal.values.events import Candidates, Event, Finished, Started, Token
from ledlocal.values.params import EngineOptions, Message, Request
from ledlocal.worker.client import Worker
from ledlocal_tui.answering import look
from ledlocal_tui.app import LedlocalApp
from ledlocal_tui.feed import Feed
from ledlocal_tui.inspected import described
from ledlocal_tui.screens.inspector import Inspector
from ledlocal_tui.widgets.keys import Keys
from ledlocal_tui.widgets.layer_grid import LayerGrid
from ledlocal_tui.widgets.token_text import TokenText
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
        await until(pilot, lambda: "token 3 · 7 shown" in screen_text(app) and "◀ mix to here" in screen_text(app))
        text = screen_text(app)
        for words in ("token 3 · 7 shown · ␣wait · thinking",
                      "coin 0.250: explored, changed · draw 0.500",
                      "so       ▸␣wait", "L12   ▅ 0.600   ▂ 0.200   H 0.560",
                      "L9    ▁ 0.000   ▄ 0.400   H 0.690 ◀ mix to here",
                      "mix   ▄ 0.438   ▅ 0.562   ◀ drawn from it"):  # 0.7 and 0.9 of 1.6
            assert words in text, words
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.chat)

    drive(script, engine)


def test_every_reply_is_reached(engine: FakeEngine) -> None:
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), replace(FORK, i=0), token("no", i=1), finished("no", "wait")])
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), token("again", i=2), finished("again")])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        for message in ("well?", "and?"):
            await say(app, pilot, message)
        await pilot.press("f2")
        await until(pilot, lambda: "reply 2 of 2 · token 0 · 2 shown · wait" in screen_text(app))
        await pilot.press("tab")
        await until(pilot, lambda: "reply 1 of 2 · token 1 · 7 shown · ␣so" in screen_text(app))
        await pilot.press("up", "f")
        await until(pilot, lambda: len(engine.requests) == 3 and not app.chat.busy)
        assert engine.requests[2].continues == (7, 7) and len(app.chat.conversation.turns) == 1
        assert engine.requests[2].messages == engine.requests[0].messages

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
        assert "mix   ▅ 0.583   ▄ 0.417   not drawn from" in screen_text(app)
        asked = engine.requests[1]
        assert (asked.continues, asked.max_tokens, asked.detail) == ((7, 8), 1, "all")
        assert [(one.method, one.led.scope) for one in (asked.thinking, asked.answer)] == [("led", "all")] * 2
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
        await until(pilot, lambda: "I so◦ think▸so then" in screen_text(app))
        assert [turn.answer for turn in read_conversation(path).turns] == ["**Yes**."]
        assert app.chat.dialogue is not None and app.chat.dialogue.path is not None
        assert [turn.answer for turn in read_conversation(app.chat.dialogue.path).turns] == ["No."]
        assert len(app.screen.query(TurnView)) == 1
        totals = app.chat.dialogue.totals
        assert (totals.answers, totals.thinking, totals.answer) == (2, 5 + 5 - 4, 2 + 1)  # what is not new counts once

    drive(script, engine, path=path)


def test_a_fork_behind_what_was_read_from_a_file() -> None:
    engine = FakeEngine()
    kept = Conversation(turns=(Turn("q", "", "so far", "cancelled", ids=(1, 2)),), model="m")
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), replace(token(" a", "thinking", 2), id=3),
                    replace(FORK, text=" b", i=3), token("yes", i=4), finished("yes", "so far a b")])
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), token("no", i=4), finished("no", "so far a so")])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await pilot.press("ctrl+g")
        await until(pilot, lambda: not app.chat.busy and engine.requests)
        await pilot.press("f2", "n", "up", "f")
        await until(pilot, lambda: len(engine.requests) == 2 and not app.chat.busy)
        assert engine.requests[1].continues == (1, 2, 3, 7)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "2 words + 2 tokens" in screen_text(app) and "so far" in screen_text(app))

    drive(script, engine, conversation=kept)


async def inspect(app: LedlocalApp, pilot: Pilot[Any]) -> Inspector:
    """The inspector, at the first explored token."""
    await say(app, pilot, "well?")
    await pilot.press("f2")
    await until(pilot, lambda: isinstance(app.screen, Inspector) and app.screen.query(LayerGrid))
    await pilot.pause(0.1)
    assert isinstance(app.screen, Inspector)
    return app.screen


def turn_wheel(widget: Widget, event: type[MouseEvent]) -> None:
    widget.post_message(event(widget, 4, 2, 0, 0, 0, False, False, False))


def columns_of(line: str, *words: str) -> list[int]:
    """Where on a terminal they stand."""
    return [cell_len(line[:line.index(word)]) for word in words]


def line_with(app: LedlocalApp, words: str) -> str:
    """The one line of the screen that has these words."""
    [line] = [line for line in screen_text(app).splitlines() if words in line]
    return line.strip()


def test_the_reply_is_copied_as_it_is_seen(engine: FakeEngine) -> None:
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), token("", "answer", 0, marker=True), finished("")])
    engine.enqueue([Started(1, 0, (1,), 0, 0.0), token("rm\x1b[201~\ud800", "answer", 0), finished("")])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        for copied, said in (
                ("I so think wait\n\n**Yes**.", "copied thinking and answer, 25 characters; some terminals ignore it"),
                ("I so think wait\n\n**Yes**.", "the reply has no text to copy"),
                ("rm␛[201~<U+D800>", "copied answer, 16 characters; some terminals ignore it")):
            await inspect(app, pilot)
            await pilot.press("c")
            assert (app.clipboard, shown(app, "#said")) == (copied, said)
            await pilot.press("right", "escape")
            await until(pilot, lambda: app.screen is app.chat)
            app.chat.query_one("#prompt").focus()

    drive(script, engine)


def test_the_reply_is_saved_as_a_trace(
        engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        inspector = await inspect(app, pilot)
        await pilot.press("s")
        await until(pilot, lambda: shown(app, "#said").startswith("saved 7 tokens in trace-"))
        [path] = tmp_path.iterdir()
        assert path.name in shown(app, "#said") and "in the current folder" in shown(app, "#said")
        assert list(read_trace(path)) == [replace(one, request=0) for one in inspector.tokens]
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        await pilot.press("s")
        await until(pilot, lambda: "cannot write the trace: No such file or directory" in shown(app, "#said"))
        assert len(inspector.tokens) == 7 and list(tmp_path.iterdir()) == [path]

    drive(script, engine)


EIGHT = Candidates(
    tuple(range(8)),
    ("so", " 漢字仮名交じり文", " wait", "한국어", "e\u0301te\u0301", "x\x1b", "\n\n", "longer than it"),
    tuple(range(40, 4, -1)), tuple(tuple((i + k) / 100 for k in range(8)) for i in range(36)),
    tuple(i / 100 for i in range(36)))
WIDE = replace(FORK, candidates=EIGHT, id=1, depth=20)


def many(*tokens: Token) -> list[Event]:
    return [Started(1, 0, (1,), 0, 0.0), *(replace(one, i=i) for i, one in enumerate(tokens)), finished("Yes.")]


def test_every_candidate_can_be_reached_at_80_columns() -> None:
    engine = FakeEngine()
    engine.enqueue(many(WIDE, token("Yes.")))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await inspect(app, pilot)
        grid = app.screen.query_one(LayerGrid)
        assert (grid.room, grid.choice, grid.left) == (5, 1, 0)
        assert columns_of(line_with(app, "3 more ›"), "so", "▸␣漢字仮…", "␣wait", "한국어", "e\u0301te", "3 more") == [
            0, 9, 20, 30, 40, 49]
        for key, choice, left in (("up", 0, 0), ("up", 7, 3), ("up", 6, 3), ("down", 7, 3), ("down", 0, 0),
                                  *(("down", n, max(0, n - 4)) for n in range(1, 7))):
            await pilot.press(key)
            assert (grid.choice, grid.left) == (choice, left), key
        assert columns_of(line_with(app, "1 more ›"), "‹ 2", "␣wait", "한국어", "e\u0301te", "x␛", "▸⏎⏎", "1 more") == [
            0, 7, 17, 27, 37, 46, 56]
        cells = ["▂ 0.220", "▂ 0.230", "▂ 0.240", "▃ 0.250", "▃ 0.260", "H 0.200 ◀ mix to here"]
        assert line_with(app, "mix to here").split("   ") == ["L20", *cells]
        await pilot.resize_terminal(120, 24)
        await until(pilot, lambda: "more ›" not in screen_text(app) and "longer …" in screen_text(app))
        assert (grid.room, grid.choice, grid.left) == (9, 6, 0)

    drive(script, engine, (80, 24))


def test_every_layer_can_be_reached_at_24_lines() -> None:
    engine = FakeEngine()
    engine.enqueue(many(WIDE, replace(WIDE, depth=None, explored=False), token("Yes.")))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await inspect(app, pilot)
        grid, rows = app.screen.query_one(LayerGrid), 10
        assert (grid.rows, grid.top) == (rows, 20 - rows + 1)  # the chosen layer is the last one in the window
        await until(pilot, lambda: "j k layers" in screen_text(app))
        assert f"↑11 ↓{36 - 11 - rows}" in line_with(app, "more ›")
        await pilot.press("k")
        assert grid.top == 10
        await pilot.press(*"j" * 40)
        assert grid.top == 36 - rows and "H 0.350" in screen_text(app) and "↓" not in line_with(app, "more ›")
        await pilot.press("down")
        assert grid.top == 36 - rows  # pointing at a candidate leaves it where it is
        await pilot.press("right")
        assert grid.top == 0 and f"↓{36 - rows - 1}" in line_with(app, "more ›")  # and no mixture
        turn_wheel(grid, MouseScrollDown)
        await until(pilot, lambda: grid.top == 1)
        turn_wheel(grid, MouseScrollUp)
        await until(pilot, lambda: grid.top == 0)
        height = grid.size.height
        await pilot.press("right")
        await until(pilot, lambda: "Its layers were not looked at." in screen_text(app))
        assert grid.size.height == height  # the text does not jump
        assert "j k layers" not in screen_text(app)

    drive(script, engine, (80, 24))


def test_a_click_points_at_a_candidate() -> None:
    engine = FakeEngine()
    engine.enqueue(many(WIDE, token("Yes.")))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await inspect(app, pilot)
        grid = app.screen.query_one(LayerGrid)
        x, y = 1, 1  # its padding
        for column, line, choice, left in (
                (6, 0, 0, 0), (45, 3, 3, 0), (55, 0, 4, 0),
                (58, 4, 4, 0), (58, 0, 5, 1),  # behind the candidates: only in the head, to the next one
                (2, 1, 5, 1), (2, 0, 0, 0)):
            await pilot.click(grid, offset=(x + column, y + line))
            assert (grid.choice, grid.left) == (choice, left), (column, line)

    drive(script, engine, (80, 24))


def test_one_layer_of_candidates() -> None:
    engine = FakeEngine()
    one = replace(EIGHT, posteriors=EIGHT.posteriors[:1], entropy=EIGHT.entropy[:1])
    engine.enqueue(many(replace(token("so", "thinking", candidates=one), id=99), token("Yes.")))
    engine.enqueue(many(token("No.")))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        inspector = await inspect(app, pilot)
        assert line_with(app, "L40") == "L40   ▁ 0.000   ▁ 0.010   ▁ 0.020   ▁ 0.030   ▁ 0.040   H 0.000"
        assert line_with(app, "other layers") == "The other layers were not looked at. l looks at them."
        assert "▸so" in line_with(app, "more ›") and "◀" not in screen_text(app)  # 99 is not among them
        await pilot.press("up", "f")
        await until(pilot, lambda: len(engine.requests) == 2)
        assert engine.requests[1].continues == (7,) and not inspector.is_current

    drive(script, engine, (80, 24))


def test_the_wheel_scrolls_the_text_and_the_token_stays_in_sight() -> None:
    engine = FakeEngine()
    engine.enqueue(many(FORK, *(token(f"line {n}\n", "thinking") for n in range(50)), token("Yes.")))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        inspector = await inspect(app, pilot)
        scroll = inspector.query_one("#text", VerticalScroll)
        for _ in range(4):
            turn_wheel(inspector.query_one(TokenText), MouseScrollDown)
        await until(pilot, lambda: scroll.scroll_y >= 4)
        assert inspector.at == 0
        await pilot.press("end")
        await until(pilot, lambda: "Yes." in screen_text(app))
        await pilot.press("home")
        await until(pilot, lambda: scroll.scroll_y == 0)
        await pilot.press("right")
        await pilot.pause(0.1)
        assert scroll.scroll_y == 0  # it is seen already
        await pilot.press("end")
        await until(pilot, lambda: "Yes." in screen_text(app))
        await pilot.resize_terminal(60, 20)
        await until(pilot, lambda: app.size.width == 60 and "Yes." in screen_text(app))

    drive(script, engine, (80, 24))


@pytest.mark.parametrize("columns", [80, 120, 160])
def test_no_key_is_cut(columns: int) -> None:
    """Help, the ways out, and what there is room for; all of them have most to do where layers do not fit."""
    engine = FakeEngine()
    for _ in range(2):
        engine.enqueue(many(replace(WIDE, depth=None), token("Yes.")))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await say(app, pilot, "first")
        await inspect(app, pilot)
        last = " ".join(screen_text(app).splitlines()[-1].split())
        assert last.startswith("f1 help ^q quit esc back ")
        assert ("s save" in last) == (columns > 80)
        keys = [one for one in app.screen.query_one(Keys).children if isinstance(one, FooterKey)]
        assert max(one.region.right for one in keys) <= columns

    drive(script, engine, (columns, 24))


def test_a_token_in_words() -> None:
    forced = replace(token("x", "thinking", 4), forced=True)
    assert described(forced, 9) == ["token 4 · 9 shown · x · thinking",
                                    "p_top1 0.750 · entropy 0.500 · put there, not drawn"]
    assert described(token("", "answer", 0, marker=True), 1)[0] == "token 0 · 1 shown · part of a marker · answer"
    assert described(token("x"), 1)[1].endswith("coin 0.250: not explored · draw 0.500")


REQUEST = Request(messages=(Message("user", "Use 3, 7, 8, 11 and 12 to make 24."),), seed=4, max_tokens=120)


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
