"""A run on the screen, from scripted news and from real folders: what is shown is what was said."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluations import CONTROL, LED, problems, sample, score
from fake_engine import finished, token
from screens import drive_screen, screen_text, shown, too_wide, until
from textual.pilot import Pilot
from textual.widgets import TabbedContent

from ledlocal.evals.observer import Observer
from ledlocal.evals.plan import Plan
from ledlocal.evals.run_folder import PLAN, PROBLEMS, SAMPLES, SCORES, Key, Score, to_lines, to_records
from ledlocal.values.errors import EngineDied
from ledlocal.values.events import Failed, Started, Token
from ledlocal_tui.kept_run import KeptRun
from ledlocal_tui.live_run import LiveRun
from ledlocal_tui.run_state import Anew, Began, Ended, Heard, LogLine, News, RunState
from ledlocal_tui.screens.help import HelpScreen
from ledlocal_tui.screens.problem import ProblemScreen
from ledlocal_tui.screens.run import RunScreen
from ledlocal_tui.viewer import Viewer
from ledlocal_tui.widgets.token_text import TokenText

ASKED = Plan(("t",), (LED, CONTROL), 2)
PROBLEMS_ASKED = {"t": problems(2)}
KEY = Key("t", "1", "led", 0.6, 0)


class Scripted:
    """A run whose news the test writes."""

    def __init__(self, *news: News) -> None:
        self.plan, self.problems = ASKED, PROBLEMS_ASKED
        self.news: list[News] = list(news)
        self.started = self.stopped = 0

    def start(self) -> None:
        self.started += 1

    def stop(self) -> None:
        self.stopped += 1

    def take(self) -> list[News]:
        taken, self.news = self.news, []
        return taken


def whole_problem(name: str = "0") -> list[News]:
    """led: one of two right; its control: none."""
    return [*(sample(name, i, arm, explored=3, changed=1) for arm in (LED, CONTROL) for i in range(2)),
            score(name, 0, True, "gold", LED), score(name, 1, False, None, LED),
            score(name, 0, False, None, CONTROL), score(name, 1, None, None, CONTROL)]


def under_way(count: int, key: Key = KEY) -> list[News]:
    """A sample that has said so many tokens, every second one explored, every fourth changed."""
    said = [token(f"w{i} ", "thinking", i, explored=i % 2 == 1, changed=i % 4 == 3) for i in range(count)]
    return [Heard(key, Started(3, key.sample, (1, 2), 0, 0.1)), *(Heard(key, one) for one in said)]


# ---- what is known ----


def test_a_state_counts_what_it_is_told() -> None:
    state = RunState(ASKED, PROBLEMS_ASKED)
    state.take([Began(), *whole_problem(), *whole_problem()])  # a line that is told twice counts once
    assert (state.progress.done, state.progress.total) == (4, 8)
    assert state.reading.count("t", problems(2)[0], LED) == "1/2 +1"
    assert [line.partition("  ")[2] for line in state.log] == [
        "0 of 8 samples are there", "t 0: led 1/2 +1, control 0/1"]


def test_problems_of_earlier_sessions_are_not_told_again() -> None:
    state = RunState(ASKED, PROBLEMS_ASKED)
    state.take([*whole_problem(), Began()])
    assert [line.partition("  ")[2] for line in state.log] == ["4 of 8 samples are there"]


def test_samples_under_way_come_and_go() -> None:
    state = RunState(ASKED, PROBLEMS_ASKED)
    state.take([*under_way(8), Heard(KEY._replace(sample=1), token("too early"))])
    [live] = state.under_way.values()
    assert (live.tally.tokens, live.tally.explored, live.tally.changed) == (8, 4, 2)
    state.take([Heard(KEY, Failed(3, "the engine died", "EngineDied"))])
    assert not state.under_way and isinstance(live.ended, Failed)
    state.take([*under_way(2), Heard(KEY, finished("so"))])
    assert not state.under_way


def test_nothing_is_under_way_when_the_run_has_ended() -> None:
    """Whatever a thread that asked an engine still hears."""
    state = RunState(ASKED, PROBLEMS_ASKED)
    state.take([Began(), *under_way(4)])
    [live] = state.under_way.values()
    state.take([Ended(), *under_way(4)])
    assert not state.under_way and isinstance(live.ended, Ended)


def test_replaced_files_are_forgotten() -> None:
    state = RunState(ASKED, PROBLEMS_ASKED)
    state.take([*whole_problem(), Began(), Anew(), *whole_problem("1")])
    assert state.progress.done == 4 and {key.problem for key in state.samples} == {"1"}


# ---- what is shown ----


def test_tasks_running_problems_and_log() -> None:
    run = Scripted(*whole_problem(), Began(), *under_way(8), LogLine("no memory for more than 4 samples side by side"))

    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "4/8 samples · 1 under way" in shown(app, "#status"))
        text = screen_text(app)
        row = next(line.split() for line in text.splitlines() if line.split()[:2] == ["t", "led"])
        assert row == ["t", "led", "0.6", "2/4", "50.0", "%", "100.0", "%", "10", "0", "-", "-"]
        await pilot.press("2")
        await until(pilot, lambda: "t 1" in screen_text(app))
        row = next(line.split() for line in screen_text(app).splitlines() if line.split()[:2] == ["t", "1"])
        assert row[:9] == ["t", "1", "led", "@", "0.6", "0", "thinking", "8", "4"] and row[9] == "2"
        await pilot.press("3")
        await until(pilot, lambda: "gold 0" in screen_text(app))
        rows = [line.split() for line in screen_text(app).splitlines() if "gold" in line]
        assert rows == [["t", "0", "gold", "0", "1/2", "+1", "0/1"], ["t", "1", "gold", "1", "-", "-"]]
        run.news += whole_problem("1")
        await until(pilot, lambda: screen_text(app).count("1/2 +1") == 2)
        await pilot.press("6")
        await until(pilot, lambda: "t 1: led 1/2 +1, control 0/1" in screen_text(app))
        assert "no memory for more than 4 samples side by side" in screen_text(app)
        await pilot.press("q")

    drive_screen(look, RunScreen(run, Path("r"), lambda key: True))
    assert run.started == 1 and run.stopped


def test_a_sample_under_way_is_seen_as_it_comes() -> None:
    run = Scripted(Began(), *under_way(4))

    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        await pilot.press("2")
        await until(pilot, lambda: "thinking" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "w3•" in screen_text(app))
        assert "t 1 · led @ 0.6 · sample 0 · under way" in shown(app, "#status")
        assert "explored  2 · 50.0 %" in screen_text(app) and "changed   1 · 25.0 %" in screen_text(app)
        run.news += under_way(8)[5:]
        await until(pilot, lambda: "w7•" in screen_text(app))
        assert "explored  4 · 50.0 %" in screen_text(app)
        run.news.append(Heard(KEY, replace(finished("so"), finish="length")))
        await until(pilot, lambda: "sample 0 · length" in shown(app, "#status"))
        await pilot.press("i")
        await until(pilot, lambda: "token 1 ·" in screen_text(app))  # the first that was explored
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen.query(TabbedContent))

    drive_screen(look, RunScreen(run, Path("r"), lambda key: True))


def test_one_escape_too_many_stops_no_work() -> None:
    run = Scripted()

    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        assert "the model is being loaded" in shown(app, "#status")
        run.news.append(Began())
        await until(pilot, lambda: "loaded" not in shown(app, "#status"))
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        assert "3/4 -1      right samples of those with a grade" in screen_text(app)
        await pilot.press("escape", "escape", "escape")
        await until(pilot, lambda: any(one.message.startswith("q leaves: the run stops") for one in app._notifications))
        assert isinstance(app.screen, RunScreen)
        run.news.append(Ended())
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.state.ended)
        await pilot.press("escape")
        await until(pilot, lambda: not app.is_running)

    drive_screen(look, RunScreen(run, Path("r"), lambda key: True))


def test_a_sample_that_ended_with_its_run_says_so() -> None:
    run = Scripted(Began(), *under_way(4))

    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        await pilot.press("2")
        await until(pilot, lambda: "thinking" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "sample 0 · under way" in shown(app, "#status"))
        run.news.append(Ended())
        await until(pilot, lambda: "sample 0 · the run ended before it" in shown(app, "#status"))

    drive_screen(look, RunScreen(run, Path("r"), lambda key: True))


def test_a_text_is_followed_unless_its_reader_has_scrolled_back() -> None:
    run = Scripted(Began(), *under_way(900))

    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        await pilot.press("2")
        await until(pilot, lambda: "thinking" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: "w899•" in screen_text(app))
        run.news += under_way(1800)[901:]
        await until(pilot, lambda: "w1799•" in screen_text(app))
        await pilot.press("home")
        await until(pilot, lambda: "w1◦" in screen_text(app))
        run.news += under_way(2700)[1801:]
        await until(pilot, lambda: len(app.screen.query_one(TokenText).tokens) == 2700)
        await pilot.pause(0.1)
        assert "w1◦" in screen_text(app) and "w2699" not in screen_text(app)

    drive_screen(look, RunScreen(run, Path("r"), lambda key: True))


def test_one_sample_is_cancelled_and_only_in_a_run_of_ours() -> None:
    cancelled: list[Key] = []
    news = [Began(), *under_way(4), *under_way(4, KEY._replace(sample=1))]

    async def cancel(app: Viewer, pilot: Pilot[Any]) -> None:
        await pilot.press("x", "2")  # on another tab it does nothing
        await until(pilot, lambda: "2 under way" in shown(app, "#status"))
        await pilot.press("down", "x")
        await pilot.pause(0.1)

    drive_screen(cancel, RunScreen(Scripted(*news), Path("r"), lambda key: bool(cancelled.append(key))))
    assert cancelled == [KEY._replace(sample=1)]

    async def nothing(app: Viewer, pilot: Pilot[Any]) -> None:
        await pilot.press("2")
        await pilot.pause(0.3)
        assert app.screen.query_one(TabbedContent).active == "tasks" and "Running" not in screen_text(app)

    drive_screen(nothing, RunScreen(Scripted(*news), Path("r")))


def test_the_cursor_keeps_its_sample_when_others_end() -> None:
    run = Scripted(Began(), *(one for i in range(3) for one in under_way(2, KEY._replace(sample=i))))
    cancelled: list[Key] = []

    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        await pilot.press("2")
        await until(pilot, lambda: screen_text(app).count("led @ 0.6") == 3)
        await pilot.press("down")
        run.news.append(Heard(KEY, finished("so")))
        await until(pilot, lambda: screen_text(app).count("led @ 0.6") == 2)
        await pilot.press("x")
        await until(pilot, lambda: cancelled)
        await pilot.pause(0.1)
        assert [one.message for one in app._notifications] == ["t 1, led @ 0.6, sample 1 has just ended"]

    drive_screen(look, RunScreen(run, Path("r"), lambda key: bool(cancelled.append(key))))
    assert cancelled == [KEY._replace(sample=1)]


def test_curves_are_made_anew_when_scores_were_replaced() -> None:
    pytest.importorskip("plotext")
    run = Scripted(*whole_problem(), Began())

    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        await pilot.press("4")
        await until(pilot, lambda: "pass@k over k" in shown(app, "#curve-text"))
        before = shown(app, "#curve-text")
        right = [replace(one, correct=True) if isinstance(one, Score) else one for one in whole_problem()]
        run.news += [Anew(), *right]
        await until(pilot, lambda: shown(app, "#curve-text") != before)

    drive_screen(look, RunScreen(run, Path("r")))


def test_a_problem_and_what_each_sample_said() -> None:
    strange = replace(sample("0", 0, LED, thinking=7, explored=3, changed=1), thinking="[b]hm\x1b[31m", answer="[/]so")
    run = Scripted(strange, score("0", 0, True, "gold 0"), replace(sample("0", 1, LED), finish="length"),
                   score("0", 1, False, None), sample("0", 0, CONTROL), Began())

    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        await pilot.press("3")
        await until(pilot, lambda: "1/2" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ProblemScreen) and "led, sample 0" in shown(app, "#facts"))
        assert shown(app, "#facts") == ("led, sample 0: right · 7 thinking + 2 answer tokens · explored 3, changed 1 · "
                                        "vote gold 0")
        assert "[b]hm" in shown(app, "#thinking") and "\x1b" not in shown(app, "#thinking")
        assert shown(app, "#answer") == "[/]so" and "known answer: gold 0" in shown(app, "#question")
        text = screen_text(app)
        assert "✓   0 led" in text and "…   1 led" in text and "    0 control" in text
        await pilot.press("down", "down")
        await until(pilot, lambda: "control, sample 0: not judged yet" in shown(app, "#facts"))
        await pilot.press("t")
        await pilot.pause(0.1)
        assert not app.screen.query_one("#thinking").display

    drive_screen(look, RunScreen(run, Path("r")))


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_every_tab_fits(size: tuple[int, int]) -> None:
    pytest.importorskip("plotext")
    run = Scripted(*whole_problem(), Began(), *under_way(8), LogLine("said at length, " * 20))

    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        for key, words in (("1", "50.0 %"), ("2", "led @ 0.6"), ("3", "gold 0"), ("4", "pass@k over k"),
                           ("5", "Report"), ("6", "samples are there")):
            await pilot.press(key)
            await until(pilot, lambda words=words: words in screen_text(app))
            await pilot.pause(0.1)
            assert too_wide(app) == []
            if key == "4":
                assert max(map(len, shown(app, "#curve-text").splitlines())) < size[0]

    drive_screen(look, RunScreen(run, Path("r"), lambda key: True), size)


def test_what_is_narrow_still_says_what_counts() -> None:
    """The time left comes before what can be cut, and the speed of a sample whatever its problem is called."""
    run = Scripted(Began())

    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        await pilot.press("2")
        await pilot.pause(0.1)
        run.news += under_way(4, KEY._replace(problem="a problem of a very long name", method="standard"))
        await until(pilot, lambda: "1 under way" in shown(app, "#status"))
        assert "pass@k" not in shown(app, "#status")
        await pilot.pause(0.1)
        run.news += whole_problem()
        await until(pilot, lambda: " left · pass@k of 1 so far · r" in shown(app, "#status"))
        await until(pilot, lambda: re.search(
            r" t a problem of… +standard @ 0\.6  0  thinking +4 +2 +1 +\d\.\d\b", screen_text(app)))
        run.news += under_way(4, KEY._replace(problem="1"))
        await until(pilot, lambda: "t 1 " in screen_text(app))
        await pilot.resize_terminal(120, 24)
        await until(pilot, lambda: "t a problem of a very long name  standard" in screen_text(app))

    drive_screen(look, RunScreen(run, Path("r"), lambda key: True), (80, 24))


def test_curves_have_every_method_and_say_what_is_missing() -> None:
    pytest.importorskip("plotext")
    run = Scripted(Began())

    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        await pilot.press("4")
        await until(pilot, lambda: "no problem has all its samples yet" in shown(app, "#curve-text"))
        run.news += whole_problem()
        await until(pilot, lambda: "pass@k over k" in shown(app, "#curve-text"))
        assert "o led   x control" in shown(app, "#curve-text")

    drive_screen(look, RunScreen(run, Path("r")))


# ---- runs in folders ----


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / PLAN).write_text(ASKED.to_toml())
    (tmp_path / PROBLEMS).write_text(to_lines(PROBLEMS_ASKED))
    (tmp_path / SAMPLES).write_text(to_records([sample("0", 0)]))
    return tmp_path


def test_a_folder_is_followed_while_it_grows(folder: Path) -> None:
    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "1/8 samples" in shown(app, "#status"))
        with (folder / SAMPLES).open("a") as file:
            file.write(to_records([sample("0", 1)]))
        await until(pilot, lambda: "2/8 samples" in shown(app, "#status"))
        with (folder / SCORES).open("a") as file:
            file.write("nonsense\n")
        await until(pilot, lambda: "scores.jsonl: line 1 is no score" in shown(app, "#status"))

    drive_screen(look, RunScreen(KeptRun(folder), folder))


# ---- live runs ----


def test_a_live_run_is_told_and_steered() -> None:
    """What the evaluation tells reaches the screen; leaving it ends the evaluation at its next tick."""
    cancelled: list[Key] = []
    ticking = threading.Event()

    def work(observer: Observer) -> dict[str, Any]:
        observer.sampled(sample("0", 0))
        observer.begin(lambda key: not cancelled.append(key))
        observer.heard(KEY, Started(3, 0, (1,), 0, 0.1))
        observer.heard(KEY, token("hm"))
        observer.note("said once")
        ticking.set()
        while True:
            observer.tick()

    live = LiveRun(ASKED, PROBLEMS_ASKED, work)

    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "1/8 samples · 1 under way" in shown(app, "#status"))
        assert "said once" in shown(app, "#status")
        await pilot.press("2")
        await until(pilot, lambda: "t 1" in screen_text(app))
        await pilot.press("x")
        await until(pilot, lambda: cancelled)
        await pilot.press("q")

    drive_screen(look, RunScreen(live, Path("r"), live.cancel))
    live.end()
    assert cancelled == [KEY]
    with pytest.raises(KeyboardInterrupt):
        live.result()


@pytest.mark.parametrize("key", ["q", "ctrl+q"])
def test_leaving_waits_for_nobody(key: str) -> None:
    """A model is being loaded when the user leaves; `end` is what waits."""
    loading, loaded = threading.Event(), threading.Event()

    def work(observer: Observer) -> dict[str, Any]:
        loading.set()
        assert loaded.wait(10)
        observer.note("loaded")
        observer.tick()
        return {"complete": True}

    live = LiveRun(ASKED, PROBLEMS_ASKED, work)

    async def leave(_app: Viewer, pilot: Pilot[Any]) -> None:
        await until(pilot, loading.is_set)
        await pilot.press(key)

    drive_screen(leave, RunScreen(live, Path("r"), live.cancel))
    assert not any(isinstance(one, LogLine) for one in live.take())
    loaded.set()
    live.end()
    assert [type(one) for one in live.take()] == [LogLine, Ended]
    with pytest.raises(KeyboardInterrupt):
        live.result()


def test_a_live_run_that_no_screen_began_has_no_end_to_wait_for() -> None:
    live = LiveRun(ASKED, PROBLEMS_ASKED, lambda _observer: {"complete": True})
    live.end()
    with pytest.raises(KeyboardInterrupt):
        live.result()


def test_a_live_run_that_ends_says_how() -> None:
    def dies(observer: Observer) -> dict[str, Any]:
        observer.begin(lambda key: True)
        observer.heard(KEY, Started(3, 0, (1,), 0, 0.1))
        raise EngineDied("killed by signal 9")

    def errs(_observer: Observer) -> dict[str, Any]:
        raise ZeroDivisionError("a mistake")

    for work, said, error in ((dies, "it ended: killed by signal 9", EngineDied),
                              (errs, "it ended by a fault of ledlocal: ZeroDivisionError: a mistake",
                               ZeroDivisionError)):
        live = LiveRun(ASKED, PROBLEMS_ASKED, work)

        async def look(app: Viewer, pilot: Pilot[Any], said: str = said) -> None:
            await until(pilot, lambda: said in shown(app, "#status") and "under way" not in shown(app, "#status"))

        drive_screen(look, RunScreen(live, Path("r"), live.cancel))
        with pytest.raises(error):
            live.result()


def test_tokens_of_a_sample_have_their_marks() -> None:
    run = Scripted(Began(), *under_way(4))

    async def look(app: Viewer, pilot: Pilot[Any]) -> None:
        await pilot.press("2")
        await until(pilot, lambda: "t 1" in screen_text(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query(TokenText) and app.screen.query_one(TokenText).tokens)
        tokens: list[Token] = app.screen.query_one(TokenText).tokens
        assert [one.explored for one in tokens] == [False, True, False, True]
        assert "w1◦" in screen_text(app) and "w3•" in screen_text(app)

    drive_screen(look, RunScreen(run, Path("r"), lambda key: True))
