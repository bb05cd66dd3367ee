"""What a reply's tokens come to, while it comes: counts, entropy and confidence per token, depths, the last fork."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from textual.app import ComposeResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from ledlocal.safe_text import safe_line
from ledlocal.values.events import Token
from ledlocal_tui.bars import bar, sparkline
from ledlocal_tui.tally import Tally, mixture

LABEL = 10
"""Columns before a value."""
FORK_SHOWN = 6
"""Candidates of the last fork."""
HINT = """\
No answer came here yet.

Here you will see what a reply's tokens
were drawn from. Its text has signs:

◦  explored, the same token came out
•  explored, another token came out"""
"""Before the first reply."""


class Part(Widget):
    """Draws itself from a tally."""

    DEFAULT_CSS = "Part { height: auto; }"

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally

    def show_progress(self) -> None:
        """Draw what came meanwhile. Laid out anew only if it must be: that lays out the whole conversation."""
        self.refresh()
        if self.get_content_height(self.container_size, self.screen.size, self.size.width) != self.size.height:
            self.refresh(layout=True)


class Series(Part):
    """Sparklines: the extremes of the tokens that share a column, and a gap where none of them was projected."""

    def render(self) -> str:
        """Three lines, on the scale of what is seen."""
        room, tally = max(1, self.size.width - LABEL - 5), self.tally
        columns = tally.columns(room)
        entropy = [max(tally.entropy[column]) for column in columns]
        mixed = [max((one for one in tally.mixed[column] if one is not None), default=None) for column in columns]
        confidence = [min(tally.confidence[column]) for column in columns]
        top = max([*entropy, *(one for one in mixed if one is not None)], default=0.0)
        last = f" {confidence[-1]:.2f}" if confidence and not tally.ended else ""
        return "\n".join([
            f"{'entropy':{LABEL}}{sparkline(entropy, top)}" + (f" {top:.1f}" if entropy else ""),
            f"{'  mixed':{LABEL}}{sparkline(mixed, top)}",
            f"{'p_top1':{LABEL}}{sparkline(confidence, 1.0)}{last}"])


class Depths(Part):
    """Explored tokens by chosen depth."""

    def render(self) -> str:
        """One line per depth that was chosen."""
        depths = self.tally.depths
        if not depths:
            return f"{'depth':{LABEL}}-"
        most, total = max(depths.values()), depths.total()
        room = max(1, self.size.width - LABEL - 12)
        return "\n".join(
            f"{'depth' if i == 0 else '':{LABEL - 3}}{depth:2} "
            f"{bar(depths[depth] / most, room)} {depths[depth]} · {100 * depths[depth] / total:.0f} %"
            for i, depth in enumerate(sorted(depths)))


class LastFork(Part):
    """The last explored token: its candidates in the final layer, and in the mixture that it was drawn from."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"fork--drawn", "fork--dim"}

    def render(self) -> Content:
        """A head, and one line per candidate."""
        token = self.tally.fork
        if token is None or token.candidates is None:
            return Content("last fork -")
        drawn, dim = (self.get_visual_style(name, partial=True) for name in ("fork--drawn", "fork--dim"))
        lines = [Content(f"last fork {quoted(token.text, 16)} · token {token.i} · "
                         f"{'another' if token.changed else 'the same'}"),
                 Content.styled(f"{'':{LABEL}}{'final':>6}  drawn from", dim)]
        for text, final, mixed, mark in candidates_of(token)[:FORK_SHOWN]:
            line = f"{quoted(text, LABEL - 2):{LABEL}}{final:6.3f} {mixed:6.3f} {bar(mixed, 5):5}{mark}"
            lines.append(Content.styled(line, drawn) if mark else Content(line))
        return Content("\n").join(lines)


class ExplorationPane(Widget):
    """Everything about the reply at hand."""

    tally: reactive[Tally | None] = reactive(None, recompose=True)
    """Of the reply that is shown; None before the first one."""

    def __init__(self) -> None:
        super().__init__()
        self._counts = ""

    def watch_tally(self) -> None:
        """Another reply."""
        self._counts = "" if self.tally is None else "\n".join(counts_of(self.tally, 0.0, 0.0, True))

    def compose(self) -> ComposeResult:
        """Parts that draw themselves from the tally."""
        if self.tally is None:
            yield Static(HINT, classes="hint", markup=False)
            return
        yield Static(self._counts, id="counts", markup=False)  # a short reply may have ended before this is there
        yield Series(self.tally)
        yield Depths(self.tally)
        yield LastFork(self.tally)

    def show_progress(self, seconds: float, speed: float, thinking: bool, cost: str = "") -> None:
        """Draw what came meanwhile. `seconds` since the first token, `speed` in tokens per second; `cost`: what looking
        into every layer takes of it, as far as it is known."""
        if self.tally is None:
            return
        lines, before = counts_of(self.tally, seconds, speed, thinking), self._counts.count("\n")
        self._counts = "\n".join([*lines, f"{'layers':{LABEL}}{cost}"] if cost else lines)
        for counts in self.query("#counts").results(Static):
            counts.update(self._counts, layout=self._counts.count("\n") != before)
        for part in self.query(Part):
            part.show_progress()


def counts_of(tally: Tally, seconds: float, speed: float, thinking: bool) -> list[str]:
    """Lines of numbers: phase and speed, tokens, explored and changed with their shares of what is explored."""
    whole, pace = max(1, tally.explorable), f"{speed:.1f} tokens/s · {seconds:.0f} s" if seconds else "-"
    return [f"{'thinking' if thinking else 'answer':{LABEL}}{pace}",
            f"{'tokens':{LABEL}}{tally.thinking} thinking + {tally.answer} answer",
            f"{'explored':{LABEL}}{tally.explored} · {100 * tally.explored / whole:.1f} %",
            f"{'changed':{LABEL}}{tally.changed} · {100 * tally.changed / whole:.1f} %"]


def candidates_of(token: Token) -> list[tuple[str, float, float, str]]:
    """Text, probability in the final layer and in the mixture, and a mark where it was drawn."""
    if token.candidates is None:
        return []
    final = token.candidates.posteriors[0]
    mixed = mixture(token) or final
    return [(text, p, q, "◀" if one == token.id else "") for one, text, p, q in zip(
        token.candidates.ids, token.candidates.texts, final, mixed, strict=True)]


def quoted(text: str, most: int) -> str:
    """A token's text on one line, white space seen, in at most so many columns."""
    shown = safe_line(text) if text.strip() == text and text else safe_line(text.replace("\n", "⏎").replace(" ", "␣"))
    return shown if cell_len(shown) <= most else set_cell_size(shown, most - 1) + "…"
