"""A sample that is under way: its text as it comes, its exploration beside it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from ledlocal.safe_text import safe_line
from ledlocal.values.events import Failed
from ledlocal_tui.inspected import Inspected, first_fork
from ledlocal_tui.run_state import Ended, LiveSample
from ledlocal_tui.screens.inspector import Inspector
from ledlocal_tui.screens.once import Once
from ledlocal_tui.widgets.exploration import ExplorationPane
from ledlocal_tui.widgets.growing import following
from ledlocal_tui.widgets.strip import ExplorationStrip
from ledlocal_tui.widgets.token_text import TokenText

TICK_S = 1 / 8


class LiveSampleScreen(Once, Screen[None]):
    """Stays when the sample has ended."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "back"),
        Binding("i,f2", "inspect", "inspect"),
    ]

    def __init__(self, live: LiveSample) -> None:
        super().__init__()
        self._live = live
        self._shown = 0

    def compose(self) -> ComposeResult:
        """Which sample, its text, its numbers."""
        yield Static("", id="status", markup=False)
        with Horizontal(id="body"):
            yield VerticalScroll(TokenText(), id="text")
            yield ExplorationPane()
        yield ExplorationStrip()
        yield Footer()

    def on_mount(self) -> None:
        """Begin where it is."""
        self.query_one(ExplorationPane).tally = self.query_one(ExplorationStrip).tally = self._live.tally
        self.set_interval(TICK_S, self._draw)
        self.query_one("#text").focus()
        self._draw()

    def action_inspect(self) -> None:
        """Token by token, as far as it is."""
        if self._live.tokens:
            self.app.push_screen(Inspector([Inspected(list(self._live.tokens))], 0, first_fork(self._live.tokens)))

    def _draw(self) -> None:
        live, key = self._live, self._live.key
        state = _state(live)
        self.query_one("#status", Static).update(safe_line(
            f"{key.task} {key.problem} · {key.method} @ {key.temperature:g} · sample {key.sample} · {state}"))
        new = live.tokens[self._shown:]
        self._shown += len(new)
        if new:
            with following(self.query_one("#text")):
                self.query_one(TokenText).extend(new)
            self.query_one(ExplorationPane).show_progress(live.seconds, live.speed, new[-1].phase == "thinking")
            self.query_one(ExplorationStrip).show_progress(live.speed)


def _state(live: LiveSample) -> str:
    if isinstance(live.ended, Failed):
        return "its engine died; another one begins it again"
    if isinstance(live.ended, Ended):
        return "the run ended before it"
    return live.ended.finish if live.ended else "under way" if live.tokens else "begins"
