"""One problem of a run: its question, every sample's verdict, and what a sample said."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static
from textual.widgets.option_list import Option

from ledlocal.evals.reading import Said
from ledlocal.safe_text import safe_line, safe_text
from ledlocal_tui.run_state import RunState
from ledlocal_tui.screens.once import Once

SIGNS = {True: "✓", False: "✗", None: "?"}


class ProblemScreen(Once, Screen[None]):
    """Samples on the left, the one that is pointed at on the right."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "back"),
        Binding("t", "thinking", "thinking"),
        Binding("pageup", "scroll(-1)", show=False, priority=True),
        Binding("pagedown", "scroll(1)", "scroll", key_display="pgup pgdn", priority=True),
    ]

    def __init__(self, state: RunState, task: str, problem: str) -> None:
        super().__init__()
        self._state, self._of_task = state, task
        self._problem = next(one for one in state.problems[task] if one.id == problem)
        self._said: list[tuple[str, Said]] = []
        self._thinking = True

    def compose(self) -> ComposeResult:
        """Question, list, text."""
        gold = f"\nknown answer: {safe_line(self._problem.gold)}" if self._problem.gold else ""
        yield Static(f"{safe_line(self._of_task)} {safe_line(self._problem.id)}", id="status", markup=False)
        yield Static(safe_text(self._problem.question) + gold, id="question", markup=False)
        with Horizontal(id="body"):
            yield OptionList(id="samples")
            with VerticalScroll(id="text", can_focus=False):
                yield Static("", id="facts", markup=False)
                yield Static("", id="thinking", markup=False)
                yield Static("", id="answer", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """What is there now; a sample that comes later is there when one comes back."""
        reading, samples = self._state.reading, self.query_one(OptionList)
        self._said = [(reading.name(arm), said) for arm in reading.plan.arms
                      for said in reading.said(self._of_task, self._problem, arm)]
        samples.add_options([Option(Content(f"{_sign(said)} {said[0].sample:>3} {name}")) for name, said in self._said])
        samples.highlighted = 0 if self._said else None
        samples.focus()
        if not self._said:
            self.query_one("#facts", Static).update("no sample of it is there yet")

    @on(OptionList.OptionHighlighted)
    def show_sample(self, event: OptionList.OptionHighlighted) -> None:
        """What it said, and what that is worth."""
        name, (sample, score) = self._said[event.option_index]
        reason = score.reason if score and score.reason else sample.reason
        verdict = {True: "right", False: "wrong", None: "not graded"}[score.correct if score else None]
        self.query_one("#facts", Static).update(safe_line(
            f"{name}, sample {sample.sample}: {verdict if score else 'not judged yet'}"
            f"{f' ({reason})' if reason else ''} · {sample.thinking_tokens} thinking + {sample.answer_tokens} answer "
            f"tokens · explored {sample.explored}, changed {sample.changed}"
            f"{f' · vote {score.vote}' if score and score.vote is not None else ''}"))
        self.query_one("#thinking", Static).update(safe_text(sample.thinking))
        self.query_one("#answer", Static).update(safe_text(sample.answer))
        self.query_one("#text", VerticalScroll).scroll_home(animate=False)

    def action_thinking(self) -> None:
        """Hide or show the thinking."""
        self._thinking = not self._thinking
        self.query_one("#thinking", Static).display = self._thinking

    def action_scroll(self, pages: int) -> None:
        """Through the text, wherever the cursor is."""
        text = self.query_one("#text", VerticalScroll)
        text.scroll_relative(y=pages * text.size.height, animate=False)


def _sign(said: Said) -> str:
    sample, score = said
    if sample.finish == "length":
        return "…"
    return SIGNS[score.correct] if score else " "
