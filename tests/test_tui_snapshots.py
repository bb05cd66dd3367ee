"""Every screen as a picture; and, whatever the picture, numbers that it shows against the events."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from evaluations import CONTROL, LED, STANDARD
from fake_engine import FakeEngine
from puzzle_reply import ANSWER, QUESTION, WRONG, engine, reply_of, tokens_of
from puzzle_reply import LED as LED_SAYS
from puzzle_reply import STANDARD as STANDARD_SAYS
from screens import drive, drive_screen, screen_text, shown, until
from screenshot import compare
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input

import ledlocal_tui.app as app_module
from ledlocal.evals.plan import Plan
from ledlocal.evals.progress import Progress
from ledlocal.evals.puzzle import Puzzle
from ledlocal.evals.run_folder import Key, Sample, Score
from ledlocal.stores.location import Location
from ledlocal.values.errors import EngineDied
from ledlocal.values.events import Event
from ledlocal.values.params import Request
from ledlocal_tui import answering, feed, run_state
from ledlocal_tui.app import LedlocalApp
from ledlocal_tui.run_state import Began, Heard, News
from ledlocal_tui.screens.duel import Duel
from ledlocal_tui.screens.help import HelpScreen
from ledlocal_tui.screens.inspector import Inspector
from ledlocal_tui.screens.picker import Picker
from ledlocal_tui.screens.problem import ProblemScreen
from ledlocal_tui.screens.run import RunScreen
from ledlocal_tui.screens.settings import SettingsDrawer
from ledlocal_tui.widgets.keys import Keys

SMALL, LARGE = (80, 24), (140, 40)
pytestmark = pytest.mark.slow
BOTH = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "140x40"])
ONE = pytest.mark.parametrize("size", [SMALL], ids=["80x24"])
Size = tuple[int, int]
Look = Callable[[App[Any], Pilot[Any]], Awaitable[None]]
REPLY = reply_of(LED_SAYS, ANSWER)
TOKENS = tokens_of(REPLY)
EXPLORED = [one for one in TOKENS if one.explored]


def numbers(events: Sequence[Event]) -> tuple[int, int, int]:
    """Tokens, explored and changed ones."""
    tokens = tokens_of(events)
    return len(tokens), sum(one.explored for one in tokens), sum(one.changed for one in tokens)


@pytest.fixture
def look(request: pytest.FixtureRequest, tmp_path: Path) -> Look:
    """Compare the screen with the picture that is named as the test is."""
    name = request.node.name.removeprefix("test_").replace("_", "-").replace("[", "-").removesuffix("]")
    return partial(compare, name=name, out=tmp_path)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time stands still: 2 s after the first token of a chat's reply, and wherever a run puts it."""
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    clock.strftime = lambda _format: "12:00:00"
    monkeypatch.setattr(feed, "time", SimpleNamespace(monotonic=lambda: 98.0))
    monkeypatch.setattr(answering, "time", clock)
    monkeypatch.setattr(run_state, "time", clock)
    monkeypatch.setattr(run_state, "Progress", partial(Progress, clock=clock.monotonic))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return clock


# ---- a chat ----


async def asked(app: LedlocalApp, pilot: Pilot[Any]) -> None:
    app.screen.query_one("#prompt").text = QUESTION  # type: ignore[attr-defined]
    await pilot.press("enter")


async def answered(app: LedlocalApp, pilot: Pilot[Any]) -> None:
    await asked(app, pilot)
    await until(pilot, lambda: app.chat.answering is None and "tokens/s" in screen_text(app))


def of_the_reply(app: App[Any]) -> None:
    """The chat or its pane says what the events come to."""
    count, explored, changed = numbers(REPLY)
    thought = sum(one.phase == "thinking" for one in TOKENS)
    text = " ".join(screen_text(app).split())
    assert f"{thought} thinking + {count - thought} answer tokens · 24.0 tokens/s" in text
    assert f"explored {explored}, changed {changed}" in text


def whole() -> FakeEngine:
    """An engine that says all of it."""
    one = engine()
    one.enqueue(REPLY)
    return one


@BOTH
def test_chat_idle(size: Size, look: Look) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: shown(app, "#status").startswith("Qwen3-1.7B · 0/8192 tokens · led · temp 0.6"))
        await look(app, pilot)

    drive(script, engine(), size)


def thinking(size: Size, look: Look) -> None:
    """In the middle of the thought."""
    seen, gate, one = REPLY[:48], threading.Event(), engine()
    count, explored, changed = numbers(seen)
    one.enqueue([*seen, lambda: gate.wait(20) and None, *REPLY[48:]])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await asked(app, pilot)
        await until(pilot, lambda: f"thinking · {count} tokens" in screen_text(app))
        if size == LARGE:
            assert shown(app, "#counts").splitlines() == [
                f"thinking  {count / 2:.1f} tokens/s · 2 s", f"tokens    {count} thinking + 0 answer",
                f"explored  {explored} · {100 * explored / count:.1f} %",
                f"changed   {changed} · {100 * changed / count:.1f} %"]
        else:
            await until(pilot, lambda: f"explored {explored}, changed {changed}" in screen_text(app))
        try:
            await look(app, pilot)
        finally:
            gate.set()

    drive(script, one, size)


@BOTH
def test_chat_thinking(size: Size, look: Look) -> None:
    thinking(size, look)


@ONE
def test_chat_without_colours(size: Size, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    thinking(size, look)


@BOTH
def test_chat_answered(size: Size, look: Look) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await answered(app, pilot)
        of_the_reply(app)
        await look(app, pilot)

    drive(script, whole(), size)


@pytest.mark.parametrize("size", [LARGE], ids=["140x40"])
def test_chat_in_the_light(size: Size, look: Look) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        app.theme = "textual-light"
        await answered(app, pilot)
        of_the_reply(app)
        await look(app, pilot)

    drive(script, whole(), size)


@ONE
def test_chat_error(size: Size, look: Look) -> None:
    one = engine()
    one.enqueue([*REPLY[:30], EngineDied("the engine died (killed by signal 9: out of memory?)")])

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await asked(app, pilot)
        await until(pilot, lambda: "ctrl+r loads the model again" in shown(app, "#banner"))
        await until(pilot, lambda: f"thinking · {len(tokens_of(REPLY[:30]))} tokens" in screen_text(app))
        await look(app, pilot)

    drive(script, one, size)


@BOTH
def test_inspector(size: Size, look: Look) -> None:
    """The second fork, and another candidate pointed at."""
    fork = EXPLORED[1]

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await answered(app, pilot)
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, Inspector))
        await pilot.press("n", "down")
        await until(pilot, lambda: "◀ mix to here" in screen_text(app))
        assert fork.candidates is not None and fork.depth is not None
        coin, drawn = fork.u
        line = next(line for line in screen_text(app).splitlines() if "◀ mix to here" in line)
        assert f"L{fork.candidates.layers[fork.depth]} " in line
        assert f"{fork.candidates.posteriors[fork.depth][0]:.3f}" in line
        assert f"H {fork.candidates.entropy[fork.depth]:.3f}" in line
        assert f"token {fork.i} · {len(TOKENS)} shown" in shown(app, "#token")
        assert f"coin {coin:.3f}: explored, same token · draw {drawn:.3f}" in shown(app, "#token")
        await look(app, pilot)

    drive(script, whole(), size)


class TwoSides(FakeEngine):
    """Answers `standard` in another way than the chat and LED."""

    def generate(self, request: Request) -> Iterator[Event]:
        yield from reply_of(STANDARD_SAYS, WRONG) if request.thinking.method == "standard" else REPLY


@BOTH
def test_duel(size: Size, look: Look) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        await answered(app, pilot)
        await pilot.press("f3")
        await until(pilot, lambda: isinstance(app.screen, Duel) and "✗ wrong" in screen_text(app))
        text = screen_text(app)
        assert "◆Let" in text and "◆Maybe•" in text and "judged by calculating" in text
        assert "✓ right" in text and f"explored {len(EXPLORED)}" in text
        await look(app, pilot)

    drive(script, TwoSides(engine().loaded), size)


@ONE
def test_settings(size: Size, look: Look) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        app.chat.query_one(Keys).display = False  # below another screen it may be drawn or not
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(app.screen, SettingsDrawer) and "k 8" in shown(app, "#effective"))
        assert app.screen.query_one("#field-think-temp", Input).value == "0.6"
        await look(app, pilot)

    drive(script, engine(), size)


@ONE
def test_picker(size: Size, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name, megabytes, origin in (("demo", 3, "embedded"), ("unsloth/Qwen3-1.7B-GGUF:Q8_0", 1830, "HF cache"),
                                    ("ollama:deepseek-r1:1.5b", 1120, "Ollama"),
                                    ("lmstudio:lmstudio-community/Qwen3-4B-GGUF", 2500, "LM Studio")):
        with (path := tmp_path / f"{len(found)}.gguf").open("wb") as file:
            file.truncate(megabytes * 10**6)
        found.append(Location(name, path, origin))
    monkeypatch.setattr(app_module, "known", lambda _unreadable: iter(found))

    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        app.chat.query_one(Keys).display = False  # below another screen it may be drawn or not
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(app.screen, Picker) and "HF cache" in screen_text(app))
        assert "1.83 GB" in screen_text(app) and "ollama:deepseek-r1:1.5b" in screen_text(app)
        await look(app, pilot)

    drive(script, engine(), size)


@ONE
def test_help(size: Size, look: Look) -> None:
    async def script(app: LedlocalApp, pilot: Pilot[Any]) -> None:
        app.chat.query_one(Keys).display = False  # below another screen it may be drawn or not
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and "f4" in screen_text(app))
        await look(app, pilot)

    drive(script, engine(), size)


# ---- a run ----

PROBLEMS = Puzzle().problems()[:9]
PLAN = Plan(("puzzle",), (LED, CONTROL, STANDARD), 4)
RIGHT = {LED: "++-+ --+- ++++ ---- +-++", CONTROL: "+--+ ---- ++-+ ---- +--+", STANDARD: "+-++ ---- ++++ ---- ---+"}
"""Verdicts by method, a word for each of the first problems."""
KEYS = [Key("puzzle", PROBLEMS[5].id, "led", 0.6, i) for i in range(3)]


def finished_samples() -> Iterator[News]:
    """With their scores, problem by problem."""
    for p, problem in enumerate(PROBLEMS[:5]):
        for arm, words in RIGHT.items():
            for i, sign in enumerate(words.split()[p]):
                right, explored = sign == "+", 2 + (p + i) % 3 if arm == LED else 0
                depths = (1, explored - 1) if explored else ()
                answer = problem.solution if right else problem.gold.replace("+", "*")
                yield Sample("puzzle", problem.id, arm.method, arm.temperature, i, "stop" if i or right else "length",
                             "", 31, 70 + 13 * p + 5 * i, 9, explored, explored // 2, depths,
                             f"I need {problem.id.partition('=')[2]}. Let me try the product of the two largest first, "
                             "then add or take away what is left.\nThat is too much, so a sum instead.", answer)
                yield Score("puzzle", problem.id, arm.method, arm.temperature, i, "answer", right, answer, "")


class Scripted:
    """A run: 60 finished samples in 20 s, three more under way."""

    def __init__(self, clock: SimpleNamespace) -> None:
        self.plan, self.problems, self._clock = PLAN, {"puzzle": PROBLEMS}, clock
        self._taken = False

    def start(self) -> None:
        """Nothing runs."""

    stop = start

    def take(self) -> Iterator[News]:
        if self._taken:
            return
        self._taken = True
        yield Began()
        for one in finished_samples():
            self._clock.now += 20 / 120
            yield one
        for n, key in enumerate(KEYS):
            yield from (Heard(key, event) for event in REPLY[:60 - 15 * n])
        self._clock.now += 2


def show_run(script: Look, clock: SimpleNamespace, size: Size) -> None:
    async def loaded(app: App[Any], pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "60/108 samples · 3 under way" in shown(app, "#status"))
        await script(app, pilot)

    drive_screen(loaded, RunScreen(Scripted(clock), Path("runs/qwen-puzzle"), lambda key: None), size)  # type: ignore[arg-type]


def row_of(app: App[Any], *words: str) -> list[str]:
    """Cells of the line of a table that begins so."""
    lines = (line.split() for line in screen_text(app).splitlines())
    return next((line for line in lines if line[:len(words)] == list(words)), [])


@ONE
def test_run_tasks(size: Size, look: Look, clock: SimpleNamespace) -> None:
    async def script(app: App[Any], pilot: Pilot[Any]) -> None:
        right = RIGHT[LED].count("+")
        await until(pilot, lambda: row_of(app, "puzzle", "led"))
        assert row_of(app, "puzzle", "led")[2:7] == ["0.6", "20/36", f"{100 * right / 20:.1f}", "%", "80.0"]
        await look(app, pilot)

    show_run(script, clock, size)


@ONE
def test_run_running(size: Size, look: Look, clock: SimpleNamespace) -> None:
    async def script(app: App[Any], pilot: Pilot[Any]) -> None:
        await pilot.press("2")
        await until(pilot, lambda: row_of(app, "puzzle"))
        said = numbers(REPLY[:60])
        assert row_of(app, "puzzle")[2:9] == ["led", "@", "0.6", "0", "thinking", *map(str, said[:2])]
        await look(app, pilot)

    show_run(script, clock, size)


@ONE
def test_run_problems(size: Size, look: Look, clock: SimpleNamespace) -> None:
    async def script(app: App[Any], pilot: Pilot[Any]) -> None:
        await pilot.press("3")
        await until(pilot, lambda: row_of(app, "puzzle", PROBLEMS[0].id))
        assert row_of(app, "puzzle", PROBLEMS[0].id)[-4:] == ["3/4", "+1", "2/4", "3/4"]
        await look(app, pilot)

    show_run(script, clock, size)


@ONE
def test_run_curves(size: Size, look: Look, clock: SimpleNamespace) -> None:
    pytest.importorskip("plotext")

    async def script(app: App[Any], pilot: Pilot[Any]) -> None:
        await pilot.press("4")
        await until(pilot, lambda: "pass@k over k" in screen_text(app))
        assert "o led   x control" in shown(app, "#curve-text")
        await look(app, pilot)

    show_run(script, clock, size)


@BOTH
def test_run_sample(size: Size, look: Look, clock: SimpleNamespace) -> None:
    count, explored, _ = numbers(REPLY[:60])

    async def script(app: App[Any], pilot: Pilot[Any]) -> None:
        await pilot.press("2")
        await until(pilot, lambda: row_of(app, "puzzle"))
        await pilot.press("enter")
        await until(pilot, lambda: "sample 0 · under way" in shown(app, "#status"))
        words = [f"{count} thinking + 0", f"explored  {explored} " if size == LARGE else f"explored {explored}, "]
        await until(pilot, lambda: all(one in screen_text(app) for one in words))
        await look(app, pilot)

    show_run(script, clock, size)


@ONE
def test_run_problem(size: Size, look: Look, clock: SimpleNamespace) -> None:
    async def script(app: App[Any], pilot: Pilot[Any]) -> None:
        await pilot.press("3")
        await until(pilot, lambda: row_of(app, "puzzle", PROBLEMS[0].id))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ProblemScreen))
        await until(pilot, lambda: "led, sample 0: right · 70 thinking + 9 answer" in shown(app, "#facts"))
        assert screen_text(app).count("✓") == 3 + 2 + 3
        await look(app, pilot)

    show_run(script, clock, size)
