"""The exploration pane of a narrow terminal: two lines."""

from __future__ import annotations

from textual.reactive import reactive
from textual.widget import Widget

from ledlocal_tui.bars import sparkline
from ledlocal_tui.tally import Tally

HINT = "In a reply:  ◦ explored, the same token came out\n             • explored, another token came out"
"""Before the first reply."""


class ExplorationStrip(Widget):
    """Counts, and confidence token by token."""

    DEFAULT_CSS = "ExplorationStrip { height: 2; text-wrap: nowrap; text-overflow: ellipsis; }"
    tally: reactive[Tally | None] = reactive(None)
    """Of the reply that is shown."""

    def __init__(self) -> None:
        super().__init__()
        self._speed, self._cost = 0.0, ""

    def watch_tally(self) -> None:
        """Another reply: its speed is not known yet."""
        self._speed, self._cost = 0.0, ""

    def show_progress(self, speed: float, cost: str = "") -> None:
        """Draw what came meanwhile. `speed` in tokens per second; `cost` as in the pane."""
        self._speed, self._cost = speed, cost
        self.refresh()

    def render(self) -> str:
        """Both lines."""
        if self.tally is None:
            return HINT
        t = self.tally
        came = (f"{t.thinking} + {t.answer} · {self._cost}" if self._cost else  # the whole line is 80 columns at most
                f"{t.thinking} thinking + {t.answer} answer" + (f" · {self._speed:.0f}/s" if self._speed else ""))
        counts = f"{came} · explored {t.explored}, changed {t.changed}"
        low = [min(t.confidence[column]) for column in t.columns(max(1, self.size.width - 7))]
        return f"{counts}\np_top1 {sparkline(low, 1.0)}"
