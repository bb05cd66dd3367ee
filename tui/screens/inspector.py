"""A reply token by token: what each layer thought, which coin fell how, and what else could have been said."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, get_args

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.geometry import Region
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import Static

from ledlocal.safe_text import safe_line, safe_text
from ledlocal.said import text_of
from ledlocal.trace import save_trace
from ledlocal.values.errors import LedlocalError
from ledlocal.values.events import Phase, Token
from ledlocal_tui.feed import Feed
from ledlocal_tui.inspected import Branch, Inspected, described, first_fork
from ledlocal_tui.screens.once import Once
from ledlocal_tui.widgets.keys import Keys
from ledlocal_tui.widgets.layer_grid import LayerGrid
from ledlocal_tui.widgets.token_text import TokenText

TICK_S = 1 / 15
ALL_KEYS = 150
"""Columns that they take with room between them."""
CONTEXT = 3
"""Lines that are seen above and below the token's, if there is room."""


class Inspector(Once, Screen[Branch | None]):
    """Dismissed with a Branch, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "token", key_display="← →"),
        Binding("h", "move(-1)", show=False),
        Binding("right", "move(1)", show=False),
        Binding("home", "to(0)", show=False),
        Binding("end", "to(-1)", show=False),
        Binding("n", "fork(1)", "forks", key_display="n p"),
        Binding("p", "fork(-1)", show=False),
        Binding("up", "choose(-1)", show=False),
        Binding("down", "choose(1)", "choose", key_display="↑ ↓"),
        Binding("tab", "reply(1)", "reply"),
        Binding("shift+tab", "reply(-1)", show=False),
        Binding("l", "project", "look"),
        Binding("k", "layers(-1)", show=False),
        Binding("j", "layers(1)", "layers", key_display="j k"),
        Binding("f", "branch", "fork"),
        Binding("c", "copy", "copy"),
        Binding("s", "save", "save"),
        Binding("escape", "dismiss", "back"),
        Binding("q", "dismiss", show=False),
    ]
    at: reactive[int] = reactive(0, init=False)
    """Which token."""

    def __init__(self, replies: Sequence[Inspected], which: int, at: int) -> None:
        """Begin with the token `at` of one of the replies."""
        super().__init__()
        self._replies, self._which = replies, which
        self._first = at
        self._looking: tuple[Inspected, int, Feed] | None = None
        self._lost = ""
        """What was said of an engine that died."""
        self._offered: tuple[bool | None, ...] = ()
        """Which of the keys that come and go are there."""

    def compose(self) -> ComposeResult:
        """The text, and below it the token."""
        yield VerticalScroll(TokenText(self.tokens), id="text", can_focus=False)
        yield Static("", id="token", markup=False)
        yield LayerGrid()
        yield Static("", id="said", markup=False)
        yield Keys(ALL_KEYS)

    @property
    def hint(self) -> str:
        """How to come by layers that were not looked at."""
        return "l looks at them." if self.reply.project is not None else ""

    @property
    def reply(self) -> Inspected:
        """The one that is looked at."""
        return self._replies[self._which]

    @property
    def tokens(self) -> list[Token]:
        """Its tokens."""
        return self.reply.tokens

    @property
    def heading(self) -> str:
        """Which reply, where there are several."""
        return f"reply {self._which + 1} of {len(self._replies)} · " if len(self._replies) > 1 else ""

    def on_mount(self) -> None:
        """Begin at a token."""
        self.set_interval(TICK_S, self._receive)
        self.at = self._first
        self._show()

    def on_resize(self) -> None:
        """The text is broken into other lines."""
        self.call_after_refresh(self._settle)

    def action_reply(self, step: int) -> None:
        """To another reply; the first one comes behind the last."""
        self._which = (self._which + step) % len(self._replies)
        text = self.query_one(TokenText)
        text.tokens = self.tokens.copy()
        text.wrap_anew()
        text.refresh(layout=True)
        self.set_reactive(Inspector.at, first_fork(self.tokens))
        self._show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        candidates = self.tokens[self.at].candidates
        if action == "layers":
            return self.is_mounted and self.query_one(LayerGrid).cut
        if action == "reply":
            return len(self._replies) > 1
        if action == "project":
            return self.reply.project is not None and (candidates is None or len(candidates.posteriors) < 2)
        return self.reply.project is not None and candidates is not None if action == "branch" else True

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
        self.query_one(LayerGrid).point(step)

    def action_layers(self, step: int) -> None:
        """Show layers above or below, where not all of them fit."""
        self.query_one(LayerGrid).scroll_layers(step)

    def action_copy(self) -> None:
        """Copy the reply as it is seen, without signs: pasted into a shell, an escape sequence would be obeyed."""
        texts = {phase: safe_text(text_of(self.tokens, phase).strip()) for phase in get_args(Phase)}
        said = {phase: text for phase, text in texts.items() if text}
        if not said:
            self._say("the reply has no text to copy")
            return
        whole = "\n\n".join(said.values())
        self.app.copy_to_clipboard(whole)
        self._say(f"copied {' and '.join(said)}, {len(whole)} characters; some terminals ignore it")

    @work
    async def action_save(self) -> None:
        """Keep the reply as a trace; a long one takes seconds."""
        self._say("saving ...")
        tokens = tuple(self.tokens)
        try:
            path = await asyncio.to_thread(save_trace, tokens, Path())
        except LedlocalError as error:
            self._say(safe_line(str(error)))
        else:
            self._say(f"saved {len(tokens)} tokens in {path}, in the current folder")

    def on_unmount(self) -> None:
        """A look that nobody waits for would keep the next message waiting."""
        if self._looking is not None:
            self._looking[2].cancel()

    def action_project(self) -> None:
        """Have the token's layers looked at: its prefix is read again."""
        if (project := self.reply.project) is not None and self._looking is None:
            self._looking = self.reply, self.at, project(self.at)
            self._say("looking ...")

    def action_branch(self) -> None:
        """Leave, to go on with the candidate that is pointed at."""
        token, grid = self.tokens[self.at], self.query_one(LayerGrid)
        if token.candidates is None:
            return
        other = replace(token, id=token.candidates.ids[grid.choice], text=token.candidates.texts[grid.choice],
                        explored=False, changed=False, forced=True)
        self.dismiss(Branch(self._which, (*self.tokens[:self.at], other)))

    def _receive(self) -> None:
        """Take the layers that were asked for, and what has come of a reply that is still on its way."""
        if new := self.reply.source[len(self.tokens):]:
            self.tokens.extend(new)
            self.query_one(TokenText).extend(new)
            self._describe()
        self._offer()
        if (lost := self.reply.lost()) != self._lost:
            self._lost = lost
            self._say(safe_line(lost))
        if self._looking is None:
            return
        reply, place, feed = self._looking
        ended = feed.ended
        found = next((event for event in feed.take() if isinstance(event, Token)), None)
        if found is None and not ended:
            return
        self._looking = None
        if found is None:
            self._say(safe_line(str(feed.error or "the engine gave no token")))
            return
        said = reply.tokens[place]
        reply.tokens[place] = replace(said, candidates=found.candidates, depth=found.depth)
        self._show()
        if found.id != said.id and not said.forced:
            self._say("read again, this place gives another token: by rounding (--reproducible has none), or settings")

    def _show(self) -> None:
        token = self.tokens[self.at]
        self.query_one(TokenText).cursor = self.at
        self.call_after_refresh(self._settle)
        self._describe()
        grid = self.query_one(LayerGrid)
        grid.hint, grid.token = self.hint, token
        if self._looking is None:
            self._say("")

    def _describe(self) -> None:
        words = described(self.tokens[self.at], len(self.tokens))
        self.query_one("#token", Static).update(self.heading + "\n".join(words))

    def _settle(self) -> None:
        """Now it is known how much fits: scroll to the token's line, if it is not seen with what stands around it."""
        scroll = self.query_one("#text", VerticalScroll)
        around = min(CONTEXT, max(0, scroll.size.height - 1) // 2)
        line = self.query_one(TokenText).line_of(self.at)
        scroll.scroll_to_region(Region(0, line - around, 1, 2 * around + 1), animate=False)
        self._offer()

    def _offer(self) -> None:
        offered = tuple(self.check_action(action, ()) for action in ("layers", "project", "branch"))
        if offered != self._offered:  # the footer is made anew: the dearest part of a key
            self._offered = offered
            self.refresh_bindings()
            grid = self.query_one(LayerGrid)
            grid.hint = self.hint
            grid.refresh()

    def _say(self, text: str) -> None:
        self.query_one("#said", Static).update(text)
