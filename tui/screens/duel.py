"""One message answered in two ways with the same random numbers, side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from ledlocal.evals.task import Grade
from ledlocal.reply import Engine
from ledlocal.safe_text import safe_line
from ledlocal.settings import Settings
from ledlocal.values.errors import LedlocalError
from ledlocal.values.params import Request
from ledlocal_tui.contest import common_prefix, judge, variant, yardstick
from ledlocal_tui.feed import Feed
from ledlocal_tui.screens.once import Once
from ledlocal_tui.widgets.duellist import SPLIT, Duellist
from ledlocal_tui.widgets.field import Field

TICK_S = 1 / 15


class Duel(Once, Screen[tuple[str, str]]):
    """Two sides, a field of settings above each, and one for the answer if it is known. Dismissed with the settings
    that were asked last."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "stop", "stop", priority=True),
        Binding("ctrl+r", "other_seed", "dice", priority=True),
        Binding("tab", "app.focus_next", "field"),
        Binding("pageup", "scroll('page_up')", "scroll", key_display="PgUp PgDn", priority=True),
        Binding("pagedown", "scroll('page_down')", show=False, priority=True),
        Binding("up", "scroll('up')", show=False, priority=True),
        Binding("down", "scroll('down')", show=False, priority=True),
        Binding("ctrl+home", "scroll('home')", show=False, priority=True),
        Binding("ctrl+end", "scroll('end')", show=False, priority=True),
        Binding("ctrl+o", "parting", SPLIT, priority=True),
        Binding("escape", "leave", "back"),
    ]

    def __init__(self, engine: Engine, settings: Settings, message: str, ask: Callable[[Settings, int], Request],
                 words: tuple[str, str] | None = None) -> None:
        """`ask` gives the request of a message with other settings, at an attempt of its own (0: as the chat did);
        `words`: the settings to begin with, None: plain sampling and the chat's own method."""
        super().__init__()
        own = settings.sampling("thinking", engine.loaded).method
        self._words = words or ("standard", own if own != "standard" else "led")
        self._engine, self._settings, self._message, self._ask = engine, settings, message, ask
        self._attempt = 0
        self._round = 0
        """Rises with whatever makes earlier verdicts worthless."""
        self._verdicts: SimpleQueue[tuple[int, Sequence[Grade | None], str]] = SimpleQueue()
        self._judged = True
        self._offered: tuple[bool | None, ...] = ()
        """Which of the keys that come and go are there."""

    def compose(self) -> ComposeResult:
        """The message, the two sides, the known answer."""
        yield Static(safe_line(self._message), id="message", markup=False)
        with Horizontal(id="sides"):
            yield Duellist(self._words[0], id="left")
            yield Duellist(self._words[1], id="right")
        yield Field(placeholder="the right answer, if it is known", id="known")
        yield Static("", id="said", markup=False)
        yield Footer(compact=True, show_command_palette=False)  # else 80 columns are too few for the keys

    def on_mount(self) -> None:
        """Begin at once."""
        self.set_interval(TICK_S, self._draw)
        self.action_run()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        if action == "stop":
            return self.is_mounted and not all(side.ended for side in self.sides)
        return self.is_mounted and self.sides[0].text.split is not None if action == "parting" else True

    @property
    def sides(self) -> tuple[Duellist, Duellist]:
        """Left and right."""
        return self.query_one("#left", Duellist), self.query_one("#right", Duellist)

    @on(Input.Submitted)
    def submitted(self, event: Input.Submitted) -> None:
        """Enter in a field; a known answer needs no new replies, and is looked at when those under way have ended."""
        if event.input.id != "known":
            self.action_run()
        elif all(side.finished for side in self.sides):
            self._judged = False
            self._round += 1

    def action_run(self) -> None:
        """Ask both."""
        if self._engine.died:
            self._say(self._death)
            return
        requests = []
        for side in self.sides:
            try:
                requests.append(self._ask(variant(self._settings, side.words), self._attempt))
            except LedlocalError as error:
                self._say(f"{side.id}: {error}")
                return
        self._words = self.sides[0].words, self.sides[1].words
        self.action_stop()
        self._say("")
        self._judged = False
        self._round += 1
        for side, request in zip(self.sides, requests, strict=True):
            side.begin(Feed(self._engine, request))

    def action_other_seed(self) -> None:
        """Both again, with other random numbers."""
        self._attempt += 1
        self.action_run()

    def action_stop(self) -> None:
        """End both replies."""
        for side in self.sides:
            side.cancel()

    def action_leave(self) -> None:
        """Back to the conversation."""
        self.action_stop()
        self.dismiss(self._words)

    def action_scroll(self, how: str) -> None:
        """Both texts."""
        for side in self.sides:
            getattr(side.query_one(VerticalScroll), f"scroll_{how}")(animate=False)

    def action_parting(self) -> None:
        """To where the sides part."""
        for side in self.sides:
            side.show_parting()

    @property
    def _death(self) -> str:
        return f"{self._engine.died}; escape, and ctrl+r there loads the model again"

    def _say(self, text: str) -> None:
        self.query_one("#said", Static).update(safe_line(text))

    def _draw(self) -> None:
        left, right = self.sides
        offered = self._offered
        moved = [side.take() for side in self.sides]
        self._offered = tuple(self.check_action(action, ()) for action in ("stop", "parting"))
        if self._offered != offered:
            self.refresh_bindings()
        if any(moved):
            common = common_prefix(left.text.tokens, right.text.tokens)
            lengths = [len(side.text.tokens) for side in self.sides]
            whole = all(side.finished is not None and side.finished.finish != "cancelled" for side in self.sides)
            parted = common < min(lengths) or (len({*lengths}) > 1 and whole)
            for side, length in zip(self.sides, lengths, strict=True):
                side.text.mark(common, common if parted and common < length else None)
        if self._engine.died and any(side.failed for side in self.sides):
            self._say(self._death)
        while not self._verdicts.empty():
            self._show_verdict(*self._verdicts.get())
        if not self._judged and left.finished and right.finished:
            self._judged = True
            if "cancelled" in (left.finished.finish, right.finished.finish):
                self._say("not judged: stopped")
                return
            known = self.query_one("#known", Input).value.strip()
            answers = left.finished.answer, right.finished.answer
            # a daemon: a grader may take its time, and nobody waits for it when the screen is left
            threading.Thread(target=self._judge, args=(self._round, known, answers), daemon=True).start()

    def _judge(self, number: int, known: str, answers: Sequence[str]) -> None:
        try:
            grades: Sequence[Grade | None] = judge(self._message, known, answers) or (None, None)
            self._verdicts.put((number, grades, yardstick(self._message, known)))
        except LedlocalError as error:
            self._verdicts.put((number, (None, None), str(error)))
        except Exception as error:  # the user is to know why no verdict comes
            self._verdicts.put((number, (None, None), f"not judged: {type(error).__name__}: {error}"))

    def _show_verdict(self, number: int, grades: Sequence[Grade | None], words: str) -> None:
        if number != self._round:  # of answers that are no more there
            return
        self._say(words)
        for side, grade in zip(self.sides, grades, strict=True):
            side.grade = grade
