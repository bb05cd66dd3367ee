"""How a run goes: one line per task and method, live on a terminal, now and then in a pipe."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ledlocal.evals.plan import Plan
from ledlocal.evals.run_folder import Sample, Score
from ledlocal.evals.task import Asked
from ledlocal.terminal import Console

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

PLAIN_FIRST_S, PLAIN_EVERY_S = 10.0, 60.0
LIVE_EVERY_S = 0.5


@dataclass(slots=True)
class Tally:
    """Of one method on one task."""

    total: int
    done: int = 0
    before: int = 0
    """Done in earlier sessions."""
    truncated: int = 0
    thinking: int = 0
    tokens: int = 0
    """Of this session."""
    began: float | None = None
    """When this session's first sample was begun: a second task waits for the first."""
    last: float = 0.0
    """When the last sample came."""
    scored: Counter[str] = field(default_factory=Counter)
    """By problem, samples that were judged, or that cannot be."""
    scores: defaultdict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    """By problem, of the samples that have a grade."""
    whole: set[str] = field(default_factory=set)
    """Problems that have all samples, one of them graded: short ones come first, and are no fair half."""

    def pass_at_1(self) -> float | None:
        """Mean over whole problems."""
        shares = [sum(self.scores[problem]) / len(self.scores[problem]) for problem in self.whole]
        return sum(shares) / len(shares) if shares else None

    def solved(self) -> float | None:
        """Share of whole problems with a correct sample."""
        return sum(any(self.scores[problem]) for problem in self.whole) / len(self.whole) if self.whole else None


class Progress:
    """An Observer with a terminal."""

    def __init__(self, plan: Plan, asked: Asked, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan, self._console, self._clock = plan, console, clock
        self._tallies = {(task, arm.method, arm.temperature): Tally(len(problems) * plan.samples)
                         for task, (_, problems) in asked.items() for arm in plan.arms}
        self._began: float | None = None
        self._shown_at = 0.0
        self._sampled_at = 0.0
        """When the last sample of any line came."""
        self._said = False
        """In a pipe, the table was shown before."""
        self._live: Live | None = None

    def sampled(self, sample: Sample) -> None:
        """One more is done."""
        tally = self._tallies[sample.task, sample.method, sample.temperature]
        tally.done += 1
        tally.truncated += sample.finish == "length"
        tally.thinking += sample.thinking_tokens
        if self._began is None:
            tally.before += 1
        else:
            tally.tokens += sample.thinking_tokens + sample.answer_tokens
            if tally.began is None:
                tally.began = self._sampled_at
            tally.last = self._sampled_at = self._clock()

    def scored(self, score: Score) -> None:
        """One more has a grade."""
        tally = self._tallies[score.task, score.method, score.temperature]
        tally.scored[score.problem] += 1
        if score.correct is not None:
            tally.scores[score.problem].append(score.correct)
        if tally.scored[score.problem] == self._plan.samples and tally.scores[score.problem]:
            tally.whole.add(score.problem)

    def note(self, text: str) -> None:
        """Something to say once; above the table."""
        if self._live is None:
            self._console.note(text)
            return
        self._live.transient = True
        self._live.stop()
        self._console.note(text)
        self._live.transient = False
        self._live.start(refresh=True)

    def begin(self) -> None:
        """What is told from now on is this session's work."""
        self._began = self._shown_at = self._sampled_at = self._clock()

    def tick(self) -> None:
        """Show how it stands, if it was not shown just before."""
        every = LIVE_EVERY_S if self._live else PLAIN_EVERY_S if self._said else PLAIN_FIRST_S
        if self._began is not None and self._clock() - self._shown_at >= every:
            self._shown_at = self._clock()
            if self._live:
                self._live.update(self._table(), refresh=True)
            else:
                self._said = True
                for line in self.lines():
                    self._console.info(line)

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Cells of the table, the first one the names."""
        n = self._plan.samples
        yield "task", "method", "T", "done", "pass@1", f"pass@{n}", "thinking", "cut", "tokens/s", "left"
        for (task, method, temperature), tally in self._tallies.items():
            new, complete = tally.done - tally.before, tally.done == tally.total
            elapsed = 0.0 if tally.began is None else (tally.last if complete else self._clock()) - tally.began
            speed = f"{tally.tokens / elapsed:.0f}" if elapsed and new else "-"
            left = duration((tally.total - tally.done) * elapsed / new) if new else "-"
            yield (task, method, f"{temperature:g}", f"{tally.done}/{tally.total}", _percent(tally.pass_at_1()),
                   _percent(tally.solved()), f"{tally.thinking / tally.done:.0f}" if tally.done else "-",
                   str(tally.truncated), speed, "" if complete else left)

    def lines(self) -> list[str]:
        """The table as plain text."""
        rows = list(self.rows())
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return ["  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                          for i, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within, a terminal shows the table live."""
        if self._console.quiet or not self._console.err.erases:
            yield
            return
        from rich.console import Console as RichConsole
        from rich.live import Live

        screen = RichConsole(stderr=True, highlight=False)
        with Live(self._table(), console=screen, auto_refresh=False, redirect_stderr=False) as self._live:
            try:
                yield
            finally:
                # what is whole is shown in full right after
                self._live.transient = all(tally.done == tally.total for tally in self._tallies.values())
                self._live.update(self._table(), refresh=True)
                self._live = None

    def _table(self) -> Text:
        from rich.text import Text

        return Text("\n".join(self.lines()), no_wrap=True, overflow="ellipsis")


def duration(seconds: float) -> str:
    """In the unit that a person would use."""
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
