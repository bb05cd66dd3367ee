"""A run of `ledlocal eval`, live or kept: its tasks, samples under way, problems, curves, report and log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol, cast

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Markdown, RichLog, Static, TabbedContent, TabPane

from ledlocal.evals.plan import Plan
from ledlocal.evals.progress import duration
from ledlocal.evals.reading import shortened
from ledlocal.evals.run_folder import Key
from ledlocal.evals.task import Problems
from ledlocal.safe_text import safe_line, safe_text
from ledlocal_tui.run_report import RunReport
from ledlocal_tui.run_state import LiveSample, News, RunState
from ledlocal_tui.screens.live_sample import LiveSampleScreen
from ledlocal_tui.screens.once import Once
from ledlocal_tui.screens.problem import ProblemScreen
from ledlocal_tui.widgets.sheet import Sheet

TICK_S = 0.25
GOLD_MOST = 24
"""Characters of a known answer in the table."""
RUNNING_HEAD = ("problem", "method", "#", "phase", "tokens", "explored", "changed", "/s")
"""Short: everything is to be seen on 80 columns, but for the end of a long problem's name."""


class Run(Protocol):
    """Where news of a run come from."""

    plan: Plan
    problems: Problems

    def start(self) -> None:
        """Begin."""

    def take(self) -> list[News]:
        """What came since the last time."""

    def stop(self) -> None:
        """End soon; nobody is kept waiting for it."""


LEGEND = """\
done        samples that are there, of those that the run is to have
pass@1      share of right samples; pass@n: of problems with a right one among n:
            of problems that are whole with every method
thinking    tokens of a sample's thought, on average
cut         samples that ended by a limit; they count as wrong
left        at the pace of this session

3/4 -1      right samples of those with a grade; with one less than the control
vote        what a sample's answer counts as in a majority vote

explored, changed   tokens of a sample that were drawn from a mixture of layers,
                    and those that came out otherwise"""


class RunScreen(Once, Screen[None]):
    """Dismissed when its user leaves; the run is to stop then."""

    legend = LEGEND
    """What the help says of its numbers."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "dismiss", "leave"),
        Binding("escape", "back", show=False),
        Binding("x", "cancel", "cancel sample"),
        *(Binding(str(i), f"tab('{name}')", "tab", key_display="1-6", show=i == 1) for i, name in enumerate(
            ("tasks", "running", "problems", "curves", "report", "log"), 1)),
    ]

    def __init__(self, run: Run, folder: Path, cancel: Callable[[Key], bool] | None = None) -> None:
        """`cancel` ends a sample that is under way; None: this run is somebody else's."""
        super().__init__()
        self._run, self._folder, self._cancel = run, folder, cancel
        self.state = RunState(run.plan, run.problems)
        self._listed: dict[Key, LiveSample] = {}
        """In the table: one of them may just have ended, and is opened all the same."""
        self._logged = 0
        self._report = RunReport(folder, self.state)

    def compose(self) -> ComposeResult:
        """A line of numbers, and a tab for each way to look."""
        yield Static("", id="status", markup=False)
        with TabbedContent(id="tabs"):
            with TabPane("1 Tasks", id="tasks"):
                yield Sheet(id="task-sheet", opens=False)
            with TabPane("2 Running", id="running"):
                yield Sheet(id="running-sheet", yields=0)
            with TabPane("3 Problems", id="problems"):
                yield Sheet(id="problem-sheet")
            with TabPane("4 Curves", id="curves"), VerticalScroll():
                yield Static("", id="curve-text", markup=False)
            with TabPane("5 Report", id="report"), VerticalScroll():
                yield Markdown("", id="report-text", open_links=False)
            with TabPane("6 Log", id="log"):
                yield RichLog(id="log-text", wrap=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin."""
        head, *_ = self.state.progress.rows()
        self.query_one("#task-sheet", Sheet).head(head, 2)
        self.query_one("#running-sheet", Sheet).head(RUNNING_HEAD, 2)
        names = [self.state.reading.name(arm) for arm in self._run.plan.arms]
        self.query_one("#problem-sheet", Sheet).head(["task", "problem", "known answer", *names], 3 + len(names))
        if self._cancel is None:  # somebody else's samples under way are not seen
            self.query_one(TabbedContent).hide_tab("running")
        self._run.start()
        self.set_interval(TICK_S, self._draw)
        self.query_one("#task-sheet", Sheet).focus()

    def on_unmount(self) -> None:
        """End, in whatever way the screen is left."""
        self._run.stop()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        if action == "cancel":
            return self._cancel is not None and self.shows == "running" and bool(self.state.under_way)
        return True

    @property
    def shows(self) -> str:
        """The tab in front."""
        return self.query_one(TabbedContent).active if self.is_mounted else ""

    def action_tab(self, name: str) -> None:
        """Show a tab."""
        if name == "running" and self._cancel is None:
            return
        self.query_one(TabbedContent).active = name

    @on(TabbedContent.TabActivated)
    def turned(self) -> None:
        """The tab in front has the keys."""
        inside = self.query_one(f"#{self.shows}", TabPane).query("Sheet, VerticalScroll, RichLog")
        inside.first().focus()
        self._draw()
        self.refresh_bindings()

    def action_back(self) -> None:
        """Leave, unless that would stop work: the key also closes what is opened over this, once too often, maybe."""
        if self._cancel is None or self.state.ended:
            self.dismiss()
        else:
            self.app.notify("q leaves: the run stops, what is finished is kept, the same command goes on", markup=False)

    def action_cancel(self) -> None:
        """End the sample that is pointed at."""
        name = self.query_one("#running-sheet", Sheet).pointed
        if name is None or self._cancel is None:
            return
        key = cast(Key, name)
        which = safe_line(f"{key.task} {key.problem}, {key.method} @ {key.temperature:g}, sample {key.sample}")
        self.app.notify(f"{which} is cancelled: nothing of it is kept; the run lacks it until the same command asks "
                        "again" if self._cancel(key) else f"{which} has just ended", markup=False)

    @on(DataTable.RowSelected)
    def open(self, event: DataTable.RowSelected) -> None:
        """By the enter key, or by mouse."""
        name = cast(Sheet, event.data_table).name_of(event.row_key.value)
        if name is None:
            return
        if self.shows == "running" and (live := self._listed.get(cast(Key, name))) is not None:
            self.app.push_screen(LiveSampleScreen(live))
        elif self.shows == "problems":
            task, problem = name
            self.app.push_screen(ProblemScreen(self.state, str(task), str(problem)))

    def _draw(self) -> None:
        """Show what came since the last time."""
        under_way = bool(self.state.under_way)
        self.state.take(self._run.take())
        self._draw_status()
        log = self.query_one("#log-text", RichLog)
        for line in self.state.log[self._logged:]:
            log.write(Text(safe_line(line)))
        self._logged = len(self.state.log)
        for name, text in self._report.take():
            if name == "curves":
                self.query_one("#curve-text", Static).update(safe_text(text))
            else:
                self.query_one("#report-text", Markdown).update(safe_text(text))
        match self.shows:
            case "tasks":
                _, *rows = self.state.progress.rows()
                self.query_one("#task-sheet", Sheet).put({tuple(row[:3]): row for row in rows})
            case "running":
                self._listed = dict(self.state.under_way)
                self.query_one("#running-sheet", Sheet).put(
                    {key: _running(live) for key, live in self._listed.items()}, only_these=True)
            case "problems":
                self._draw_problems()
            case "curves" | "report":
                self._report.want(self.shows, self.size.width - 6)
        if under_way != bool(self.state.under_way):
            self.refresh_bindings()

    def _draw_status(self) -> None:
        progress = self.state.progress
        parts = [f"{progress.done}/{progress.total} samples"]
        if not self.state.began and not self.state.ended:
            parts.append("reading its files" if self._cancel is None else "the model is being loaded")
        if self.state.under_way:
            parts.append(f"{len(self.state.under_way)} under way")
        if progress.speed is not None:
            parts.append(f"{progress.speed:.0f} tokens/s")
        if progress.left_s:
            parts.append(f"{duration(progress.left_s)} left")
        if not self.state.ended and 0 < progress.compared < len(self.state.reading.asked):
            parts.append(f"pass@k of {progress.compared} so far")
        if self.state.said:
            parts.append(self.state.said)
        parts.append(str(self._folder))  # the last: it may be long
        self.query_one("#status", Static).update(safe_line(" · ".join(parts)))

    def _draw_problems(self) -> None:
        """Only what has news: there may be thousands."""
        reading, touched = self.state.reading, self.state.touched
        self.query_one("#problem-sheet", Sheet).put({
            (task, problem.id): [task, problem.id, shortened(problem.gold, GOLD_MOST),
                                 *(reading.count(task, problem, arm) for arm in reading.plan.arms)]
            for task, problem in reading.asked if (task, problem.id) in touched})
        touched.clear()


def _running(live: LiveSample) -> list[str]:
    """Cells of a sample that is under way."""
    tally, key = live.tally, live.key
    speed = f"{live.speed:.1f}" if live.seconds >= 1 else "-"  # too short a time gives a number that needs much room
    return [f"{key.task} {key.problem}", f"{key.method} @ {key.temperature:g}", str(key.sample),
            live.tokens[-1].phase if live.tokens else "begins", str(tally.tokens), str(tally.explored),
            str(tally.changed), speed]
