"""A reply token by token: what each layer thought, which coin fell how, and what else could have been said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import Footer, Static

from ledlocal.safe_text import safe_line
from ledlocal.values.events import Token
from ledlocal_tui.feed import Feed
from ledlocal_tui.widgets.exploration import quoted
from ledlocal_tui.widgets.layer_grid import LayerGrid
from ledlocal_tui.widgets.token_text import TokenText

TICK_S = 1 / 15


@dataclass(frozen=True, slots=True)
class Fork:
    """Where to go on otherwise."""

    tokens: tuple[Token, ...]
    """Those that stay, and the other one in the end."""


class Inspector(Screen[Fork | None]):
    """Dismissed with a Fork, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "back"),
        Binding("left,h", "move(-1)", "token", key_display="← →"),
        Binding("right", "move(1)", show=False),
        Binding("home", "to(0)", show=False),
        Binding("end", "to(-1)", show=False),
        Binding("n", "fork(1)", "next fork"),
        Binding("p", "fork(-1)", "previous"),
        Binding("up", "choose(-1)", show=False),
        Binding("down", "choose(1)", "candidate", key_display="↑ ↓"),
        Binding("l", "project", "look into layers"),
        Binding("f", "branch", "fork here"),
    ]
    at: reactive[int] = reactive(0, init=False, bindings=True)
    """Which token."""

    def __init__(self, tokens: Sequence[Token], at: int, project: Callable[[int], Feed] | None) -> None:
        """`project` asks an engine for a token's layers; None where there is none, as for a recorded trace."""
        super().__init__()
        self.tokens = list(tokens)
        self._first, self._project = at, project
        self._looking: tuple[int, Feed] | None = None

    def compose(self) -> ComposeResult:
        """The text, and below it the token."""
        yield VerticalScroll(TokenText(self.tokens), id="text", can_focus=False)
        yield Static("", id="token", markup=False)
        yield LayerGrid()
        yield Static("", id="said", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin at a token."""
        self.set_interval(TICK_S, self._receive)
        self.at = self._first
        self._show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        candidates = self.tokens[self.at].candidates
        if action == "project":
            return self._project is not None and (candidates is None or len(candidates.posteriors) < 2)
        return self._project is not None and candidates is not None if action == "branch" else True

    def watch_at(self) -> None:
        """Another token is looked at."""
        self._show()

    @on(TokenText.Picked)
    def pick(self, event: TokenText.Picked) -> None:
        """By mouse."""
        self.at = event.index

    def action_move(self, step: int) -> None:
        """To a neighbour."""
        self.at = min(max(0, self.at + step), len(self.tokens) - 1)

    def action_to(self, place: int) -> None:
        """To the first token or the last."""
        self.at = place % len(self.tokens)

    def action_fork(self, step: int) -> None:
        """To the next explored token, or the one before."""
        places = [i for i, token in enumerate(self.tokens) if token.explored and (i - self.at) * step > 0]
        if places:
            self.at = min(places) if step > 0 else max(places)
        else:
            self._say("no explored token there")

    def action_choose(self, step: int) -> None:
        """Point at another candidate."""
        grid, candidates = self.query_one(LayerGrid), self.tokens[self.at].candidates
        if candidates is not None:
            grid.choice = (grid.choice + step) % min(len(candidates.ids), grid.room)

    def action_project(self) -> None:
        """Have the token's layers looked at: its prefix is read again."""
        if self._project is not None and self._looking is None:
            self._looking = self.at, self._project(self.at)
            self._say("looking ...")

    def action_branch(self) -> None:
        """Leave, to go on with the candidate that is pointed at."""
        token, grid = self.tokens[self.at], self.query_one(LayerGrid)
        if token.candidates is None:
            return
        other = replace(token, id=token.candidates.ids[grid.choice], text=token.candidates.texts[grid.choice],
                        explored=False, changed=False, forced=True)
        self.dismiss(Fork((*self.tokens[:self.at], other)))

    def _receive(self) -> None:
        """Take the layers that were asked for."""
        if self._looking is None:
            return
        place, feed = self._looking
        ended = feed.ended
        found = next((event for event in feed.take() if isinstance(event, Token)), None)
        if found is None and not ended:
            return
        self._looking = None
        if found is None:
            self._say(safe_line(str(feed.error or "the engine gave no token")))
            return
        said = self.tokens[place]
        self.tokens[place] = replace(said, candidates=found.candidates, depth=found.depth)
        self._show()
        self.refresh_bindings()
        if found.id != said.id and not said.forced:
            self._say("read again, this place gives another token: by rounding (--reproducible has none), or settings")

    def _show(self) -> None:
        token, text, grid = self.tokens[self.at], self.query_one(TokenText), self.query_one(LayerGrid)
        text.cursor = self.at
        self.query_one("#text", VerticalScroll).scroll_to(y=max(0, text.line_of(self.at) - 3), animate=False)
        self.query_one("#token", Static).update("\n".join(described(token, len(self.tokens))))
        grid.token = token
        grid.choice = token.candidates.ids.index(token.id) if token.candidates and (
            token.id in token.candidates.ids) else 0
        if self._looking is None:
            self._say("")

    def _say(self, text: str) -> None:
        self.query_one("#said", Static).update(text)


def described(token: Token, count: int) -> list[str]:
    """A token in words: where it stands, how sure the final layer was, and how coin and draw fell."""
    name = "part of a marker" if token.marker else quoted(token.text, 24)
    first = f"token {token.i} · {count} shown · {name} · {token.phase}"
    sure = f"p_top1 {token.confidence:.3f} · entropy {token.entropy:.3f}"
    if token.forced:
        return [first, f"{sure} · put there, not drawn"]
    coin, draw = token.u
    if not token.explored:
        return [first, f"{sure} · coin {coin:.3f} · not explored · draw {draw:.3f}"]
    outcome = "another token than the final layer's" if token.changed else "the same token as the final layer's"
    return [first, f"{sure} · coin {coin:.3f} · explored: {outcome} · draw {draw:.3f}"]
