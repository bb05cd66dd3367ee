"""One turn of a conversation: the message, the thought, the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import Click
from textual.widgets import Static

from ledlocal.conversation import Turn
from ledlocal.safe_text import safe_line, safe_text
from ledlocal.said import Said
from ledlocal.values.events import Token
from ledlocal_tui.widgets.answer import Answer
from ledlocal_tui.widgets.growing import Growing
from ledlocal_tui.widgets.token_text import TokenText


class TurnView(Vertical, Growing):
    """A message and its answer. Tokens of this session carry marks; what was read from a file is text."""

    def __init__(self, turn: Turn, said: Said | None = None) -> None:
        """`said`: the answer token by token, as far as it is known so."""
        super().__init__()
        self.turn = turn if said is None else replace(turn, thinking=said.thinking, answer=said.answer)
        """The answer's text is what stands before the tokens."""
        self.tokens: list[Token] = []
        """All of the reply, in the order of their positions."""
        self.request = None if said is None else said.request
        """What was asked for it first; None if it was read from a file."""
        self._first = said.tokens if said is not None else ()

    def compose(self) -> ComposeResult:
        """Message, thought, answer, and how it ended."""
        yield Static(safe_text(self.turn.user), classes="user", markup=False)
        yield Static("", classes="thought-head")
        yield TokenText(classes="thought") if not self.turn.thinking else Static(
            safe_text(self.turn.thinking), classes="thought", markup=False)
        yield Answer(self.turn.answer)
        yield Static("", classes="end", markup=False)

    async def on_mount(self) -> None:
        """A thought that is over is folded."""
        self.set_class(bool(self.turn.thinking), "-folded")
        self.set_class(not self.turn.thinking, "-thoughtless")
        self._name_thought()
        if self._first:
            await self.extend(self._first)

    @property
    def thought(self) -> TokenText | None:
        """The thought as tokens, or what was added to it; None if all of it was read from a file."""
        return next(iter(self.query(".thought").results(TokenText)), None)

    @property
    def answer(self) -> Answer:
        """What it says in the end."""
        return self.query_one(Answer)

    @property
    def said(self) -> Said | None:
        """The answer token by token; None if it was read from a file, or is another model's."""
        request, turn = self.request, self.turn
        return None if request is None else Said(request, tuple(self.tokens), turn.thinking, turn.answer)

    def begin(self) -> None:
        """The answer comes, or goes on."""
        self.query_one(".end", Static).update("")

    async def extend(self, tokens: Sequence[Token]) -> None:
        """Show more tokens of the reply."""
        self.tokens += tokens
        thoughts = [token for token in tokens if token.phase == "thinking"]
        answers = [token for token in tokens if token.phase == "answer"]
        if thoughts:
            self.remove_class("-thoughtless")
            if self.thought is None:  # it goes on with one that was read from a file
                await self.mount(TokenText(classes="thought"), after=self.query_one(".thought"))
            assert self.thought is not None
            self.thought.extend(thoughts)
            self._name_thought()
        if answers:
            await self.answer.extend(answers)

    async def finish(self, words: str) -> None:
        """The reply has ended; `words`: the line under it."""
        await self.answer.finish()
        self.query_one(".end", Static).update(safe_line(words))
        self._name_thought()

    def fold(self, folded: bool | None = None) -> None:
        """Hide or show the thought; None: the other way round."""
        self.set_class(not self.has_class("-folded") if folded is None else folded, "-folded")
        self._name_thought()

    @on(Click, ".thought-head")
    def toggle(self) -> None:
        """Fold by mouse."""
        self.fold()

    def _name_thought(self) -> None:
        count = len(self.thought.tokens) if self.thought is not None else 0
        sign = "▸" if self.has_class("-folded") else "▾"
        words = len(self.turn.thinking.split())
        text = " + ".join([f"{words} words"] * bool(words or not count) + [f"{count} tokens"] * bool(count))
        self.query_one(".thought-head", Static).update(f"{sign} thinking · {text}", layout=False)
