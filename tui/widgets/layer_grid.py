"""What each layer thinks of a token's candidates."""

from __future__ import annotations

from typing import ClassVar

from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from ledlocal.values.events import Candidates, Token
from ledlocal_tui.bars import sparkline
from ledlocal_tui.widgets.exploration import quoted

CELL, LABEL, TAIL = 10, 6, 22
"""Columns of a candidate, of a layer's number, and of what stands behind a layer."""


class LayerGrid(Widget):
    """Layers by candidates: probabilities, the entropy of the mixture down to each layer, and the chosen one."""

    DEFAULT_CSS = "LayerGrid { height: auto; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = {"layer-grid--drawn", "layer-grid--choice", "layer-grid--chosen-layer",
                                             "layer-grid--dim"}
    token: reactive[Token | None] = reactive(None, layout=True)
    """Whose candidates are shown."""
    choice: reactive[int] = reactive(0)
    """The candidate that is pointed at."""

    def render(self) -> Content:
        """A head, one line per layer, and what was drawn from."""
        candidates = self.token.candidates if self.token is not None else None
        if self.token is None or candidates is None:
            return Content.styled("Its layers were not looked at. l looks at them.", self._style("dim"))
        return Content("\n").join([self._head(self.token, candidates), *(
            self._layer(self.token, candidates, row) for row in range(len(candidates.posteriors)))])

    @property
    def room(self) -> int:
        """Candidates that fit."""
        return max(1, (self.size.width - LABEL - TAIL) // CELL)

    def _head(self, token: Token, candidates: Candidates) -> Content:
        parts = [Content(" " * LABEL)]
        for i, text in enumerate(candidates.texts[:self.room]):
            name = "choice" if i == self.choice else "drawn" if candidates.ids[i] == token.id else "dim"
            mark = "▸" if i == self.choice else "◀" if candidates.ids[i] == token.id else " "
            parts.append(Content.styled(f"{mark}{quoted(text, CELL - 2):{CELL - 1}}", self._style(name)))
        return Content("").join(parts)

    def _layer(self, token: Token, candidates: Candidates, row: int) -> Content:
        cells = "".join(f"{sparkline([p], 1.0)} {p:.3f}  " for p in candidates.posteriors[row][:self.room])
        entropy = candidates.entropy[row] if row < len(candidates.entropy) else None
        tail = f"H {entropy:.3f}" if entropy is not None else ""
        chosen = row == token.depth
        if chosen:
            tail += " ◀ drawn from" if token.explored else " ◀ largest"
        line = f"L{candidates.layers[row]:<{LABEL - 1}}{cells}{tail}"
        return Content.styled(line, self._style("chosen-layer")) if chosen else Content(line)

    def _style(self, name: str) -> Style:
        return self.get_visual_style(f"layer-grid--{name}", partial=True)
