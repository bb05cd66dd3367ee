"""What each layer thinks of a token's candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import set_cell_size
from textual.content import Content
from textual.events import Click, MouseScrollDown, MouseScrollUp
from textual.geometry import Size
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from ledlocal.values.events import Candidates, Token
from ledlocal_tui.bars import sparkline
from ledlocal_tui.tally import mixture
from ledlocal_tui.widgets.exploration import quoted

CELL, LABEL, TAIL = 10, 6, 21
"""Columns of a candidate, of a layer's number, and of what stands behind a layer."""


class LayerGrid(Widget):
    """A window onto layers by candidates: probabilities, the entropy of the mixture down to each layer, the chosen one.

    It moves sideways with the candidate that is pointed at, to the chosen layer by itself, and from there by hand.
    """

    DEFAULT_CSS = "LayerGrid { height: auto; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = {"layer-grid--drawn", "layer-grid--choice", "layer-grid--chosen-layer",
                                             "layer-grid--dim"}
    token: reactive[Token | None] = reactive(None, layout=True)
    """Whose candidates are shown."""
    choice: reactive[int] = reactive(0)
    """The candidate that is pointed at."""
    left: reactive[int] = reactive(0)
    """The first candidate in the window."""
    top: reactive[int] = reactive(0)
    """The first layer in the window."""

    def __init__(self) -> None:
        super().__init__()
        self.hint = ""
        """How to come by layers that were not looked at."""
        self._mixture: tuple[float, ...] = ()
        """(k,) of the layers down to the chosen one; empty where none was looked at."""
        self._tallest = 1
        """Lines that some token took: they stay, so that what is above does not jump from token to token."""

    @property
    def candidates(self) -> Candidates | None:
        """Those of the token."""
        return self.token.candidates if self.token is not None else None

    @property
    def room(self) -> int:
        """Candidates that fit."""
        return max(1, (self.size.width - LABEL - TAIL) // CELL)

    @property
    def rows(self) -> int:
        """Layers that fit."""
        return max(1, self.size.height - 1 - bool(self._mixture))

    @property
    def cut(self) -> bool:
        """Whether some layers do not fit."""
        return self._layers > self.rows

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """All layers and their head, if there is as much room."""
        return self._tallest

    def render(self) -> Content:
        """A head, one line per layer, and what was drawn from."""
        token, candidates = self.token, self.candidates
        if token is None or candidates is None:
            return Content.styled(f"Its layers were not looked at. {self.hint}".rstrip(), self._style("dim"))
        layers = range(len(candidates.posteriors))[self.top:self.top + self.rows]
        lines = [self._head(token, candidates), *(self._layer(token, candidates, layer) for layer in layers)]
        if self._mixture:
            lines.append(self._mix(token))
        if len(candidates.posteriors) == 1:
            text = f"The other layers were not looked at. {self.hint}".rstrip()
            lines.append(Content.styled(text, self._style("dim")))
        return Content("\n").join(lines)

    def watch_token(self) -> None:
        """Point at what was drawn."""
        self._mixture = mixture(self.token) if self.token is not None else ()
        ids = self.candidates.ids if self.candidates is not None else ()
        drawn = self.token.id if self.token is not None else None
        self._tallest = max(self._tallest, self._layers + 2 if self._layers else 1)
        self.left = self.top = 0
        self.choice = ids.index(drawn) if drawn in ids else 0
        self._follow()

    def watch_choice(self) -> None:
        """Keep it in the window."""
        self._follow_choice()

    def on_resize(self) -> None:
        """The window is another one."""
        self._follow()

    def point(self, step: int) -> None:
        """Point at another candidate; the first one comes behind the last."""
        if self.candidates is not None:
            self.choice = (self.choice + step) % len(self.candidates.ids)

    def scroll_layers(self, step: int) -> None:
        """Show layers above or below."""
        self.top = max(0, min(self.top + step, self._layers - self.rows))

    def on_mouse_scroll_down(self, event: MouseScrollDown) -> None:
        """Layers below."""
        self.scroll_layers(1)
        event.stop()

    def on_mouse_scroll_up(self, event: MouseScrollUp) -> None:
        """Layers above."""
        self.scroll_layers(-1)
        event.stop()

    def on_click(self, event: Click) -> None:
        """Point at what was clicked on; beside the head's candidates, at the next one that is not in the window."""
        place, candidates = event.get_content_offset(self), self.candidates
        if place is None or candidates is None:
            return
        end = min(len(candidates.ids), self.left + self.room)
        column = min(self.left + (place.x - LABEL) // CELL, end)
        if self.left <= column < end or (place.y == 0 and 0 <= column < len(candidates.ids)):
            self.choice = column

    @property
    def _layers(self) -> int:
        return len(self.candidates.posteriors) if self.candidates is not None else 0

    def _follow(self) -> None:
        """Have what is pointed at and the chosen layer in the window."""
        if self.size.width:
            self._follow_choice()
            depth = self.token.depth if self.token is not None else None
            self.top = max(0, min(self.top, self._layers - self.rows))
            if depth is not None and 0 <= depth < self._layers:
                self.top = min(max(self.top, depth - self.rows + 1), depth)

    def _follow_choice(self) -> None:
        if self.size.width and self.candidates is not None:
            left = max(0, min(self.left, len(self.candidates.ids) - self.room))
            self.left = min(max(left, self.choice - self.room + 1), self.choice)

    def _head(self, token: Token, candidates: Candidates) -> Content:
        shown = range(len(candidates.ids))[self.left:self.left + self.room]
        parts = [Content.styled(f"{f'‹ {self.left}' if self.left else '':{LABEL}}", self._style("dim"))]
        for i in shown:
            name = "choice" if i == self.choice else "drawn" if candidates.ids[i] == token.id else "dim"
            mark = "▸" if i == self.choice else "◀" if candidates.ids[i] == token.id else " "
            text = set_cell_size(mark + quoted(candidates.texts[i], CELL - 2), CELL - 1)
            parts += [Content.styled(text, self._style(name)), Content(" ")]
        more, below = len(candidates.ids) - shown.stop, self._layers - self.top - self.rows
        beyond = [f"{more} more ›"] * (more > 0) + [f"↑{self.top}"] * (self.top > 0) + [f"↓{below}"] * (below > 0)
        return Content("").join([*parts, Content.styled(" ".join(beyond), self._style("dim"))])

    def _layer(self, token: Token, candidates: Candidates, layer: int) -> Content:
        tail = f"H {candidates.entropy[layer]:.3f}"
        chosen = layer == token.depth
        if chosen:
            tail += " ◀ mix to here" if token.explored else " ◀ largest"
        line = f"L{candidates.layers[layer]:<{LABEL - 1}}{self._cells(candidates.posteriors[layer])}{tail}"
        return Content.styled(line, self._style("chosen-layer")) if chosen else Content(line)

    def _mix(self, token: Token) -> Content:
        """What an explored token was drawn from, or would have been."""
        line = f"{'mix':{LABEL}}{self._cells(self._mixture)}"
        return Content.styled(f"{line}◀ drawn from it", self._style("chosen-layer")) if token.explored else \
            Content.styled(f"{line}not drawn from", self._style("dim"))

    def _cells(self, row: Sequence[float]) -> str:
        return "".join(f"{sparkline([p], 1.0)} {p:.3f}   " for p in row[self.left:self.left + self.room])

    def _style(self, name: str) -> Style:
        return self.get_visual_style(f"layer-grid--{name}")  # a partial one loses the background
