"""The exploration pane of a narrow terminal: two lines."""

from __future__ import annotations

from textual.reactive import reactive
from textual.widget import Widget

from ledlocal_tui.bars import sparkline
from ledlocal_tui.tally import Tally


class ExplorationStrip(Widget):
    """Counts, and confidence token by token."""

    DEFAULT_CSS = "ExplorationStrip { height: 2; text-wrap: nowrap; text-overflow: ellipsis; }"
    tally: reactive[Tally | None] = reactive(None)
    """Of the reply that is shown."""

    def __init__(self) -> None:
        super().__init__()
        self._speed = 0.0

    def show_progress(self, speed: float) -> None:
        """Draw what came meanwhile. `speed` in tokens per second."""
        self._speed = speed
        self.refresh()

    def render(self) -> str:
        """Both lines."""
        if self.tally is None:
            return ""
        t = self.tally
        counts = (f"{t.thinking} thinking + {t.answer} answer · {self._speed:.0f}/s · explored {t.explored}, "
                  f"changed {t.changed}")
        return f"{counts}\np_top1 {sparkline(t.confidence[-max(1, self.size.width - 7):], 1.0)}"
