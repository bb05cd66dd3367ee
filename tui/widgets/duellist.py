"""One side of a duel: its settings, its text, what it comes to."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.geometry import Region
from textual.reactive import reactive
from textual.widgets import Input, Static

from ledlocal.evals.task import Grade
from ledlocal.safe_text import safe_line
from ledlocal.settings import describe
from ledlocal.values.events import Finished, Token
from ledlocal_tui.feed import Feed
from ledlocal_tui.tally import Tally
from ledlocal_tui.widgets.field import Field
from ledlocal_tui.widgets.growing import following
from ledlocal_tui.widgets.token_text import TokenText

SPLIT = "◆"
"""Before the first token that the other side does not have."""


class DuelText(TokenText):
    """Tokens, those that both sides begin with in grey."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"token-text--common", "token-text--split"}
    common = 0
    """Tokens that both sides begin with."""
    split: int | None = None
    """The first one that differs; None: none does yet."""

    def mark(self, common: int, split: int | None) -> None:
        """Say where the sides part."""
        if (common, split) == (self.common, self.split):
            return
        moved, self.common, self.split = split != self.split, common, split
        if moved:
            self.wrap_anew()
        self.refresh(layout=moved)

    def kind(self, index: int) -> str:
        """Grey, or as elsewhere."""
        if index == self.split:
            return "split"
        return "common" if index < self.common else super().kind(index)

    def shown(self, token: Token, index: int) -> str:
        """With the sign of the parting."""
        text = super().shown(token, index)
        core = text.lstrip()
        return f"{text[:len(text) - len(core)]}{SPLIT}{core}" if index == self.split else text


class Duellist(Vertical):
    """Runs one request and shows it."""

    grade: reactive[Grade | None] = reactive(None)

    def __init__(self, words: str, *, id: str) -> None:
        """`words`: the settings that its field begins with."""
        super().__init__(id=id)
        self._words = words
        self.feed: Feed | None = None
        self.tally = Tally()
        self.finished: Finished | None = None

    def compose(self) -> ComposeResult:
        """Settings as they are typed, as they are in effect, text, numbers."""
        yield Field(self._words, placeholder="led temp=1 d=4")
        yield Static("", classes="effective", markup=False)
        yield VerticalScroll(DuelText(), can_focus=False)
        yield Static("", classes="numbers", markup=False)

    @property
    def text(self) -> DuelText:
        """What it says."""
        return self.query_one(DuelText)

    @property
    def words(self) -> str:
        """The settings in its field."""
        return self.query_one(Input).value

    def begin(self, feed: Feed) -> None:
        """Show another reply from its beginning."""
        self.feed, self.tally, self.finished = feed, Tally(answers=feed.request.answer.led.scope == "all"), None
        self.grade = None
        drawn = describe(feed.request.thinking, "thinking")
        throw = f", throw {feed.request.first_sample + 1}" if feed.request.first_sample else ""
        self.query_one(".effective", Static).update(safe_line(f"seed {feed.request.seed}{throw} · {drawn}"))
        text = self.text
        text.tokens, text.common, text.split = [], 0, None
        text.wrap_anew()
        text.refresh(layout=True)
        self.show("waiting")

    @property
    def ended(self) -> bool:
        """Nothing more comes."""
        return self.feed is None or self.feed.ended

    @property
    def failed(self) -> bool:
        """It ended without its engine."""
        return self.feed is not None and self.feed.ended and self.feed.error is not None

    def cancel(self) -> None:
        """End its reply soon."""
        if self.feed is not None and not self.feed.ended:
            self.feed.cancel()

    def take(self) -> bool:
        """Show what came; whether anything did."""
        events = self.feed.take() if self.feed else []
        tokens = [event for event in events if isinstance(event, Token)]
        for event in events:
            if isinstance(event, Finished):
                self.finished = event
        for token in tokens:
            self.tally.add(token)
        if tokens:
            with following(self.query_one(VerticalScroll)):
                self.text.extend(tokens)
        if events or (self.feed and self.feed.ended and self.feed.error):
            self.show()
        return bool(events)

    def show_parting(self) -> None:
        """Scroll to where the sides part, if they do."""
        if self.text.split is not None:
            scroll, line = self.query_one(VerticalScroll), self.text.line_of(self.text.split)
            scroll.scroll_to_region(Region(0, line - 1, 1, 3), animate=False)

    def watch_grade(self) -> None:
        """A verdict is there, or there is none any more."""
        for name, correct in (("-right", True), ("-wrong", False)):
            self.set_class(self.grade is not None and self.grade.correct is correct, name)
        if self.is_mounted and self.feed:
            self.show()

    def show(self, instead: str = "") -> None:
        """The line of numbers."""
        one = self.tally
        words = [f"{one.thinking} thinking + {one.answer} answer tokens", f"explored {one.explored}, "
                 f"changed {one.changed}"]
        if self.feed and self.feed.error:
            words.append(str(self.feed.error))
        elif self.finished is not None:
            words.append(self.finished.finish)
        if self.grade is not None:
            words.insert(0, {True: "✓ right", False: "✗ wrong", None: "? not graded"}[self.grade.correct])
        self.query_one(".numbers", Static).update(safe_line(instead or " · ".join(words)))
