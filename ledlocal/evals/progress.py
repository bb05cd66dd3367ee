"""How a run goes: numbers per task and method, from samples and scores as they come."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from ledlocal.evals.plan import Plan
from ledlocal.evals.run_folder import Sample, Score
from ledlocal.evals.task import Problems


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

    def pass_at_1(self, problems: Collection[str]) -> float | None:
        """Mean over some of its whole problems."""
        shares = [sum(self.scores[problem]) / len(self.scores[problem]) for problem in problems]
        return sum(shares) / len(shares) if shares else None

    def solved(self, problems: Collection[str]) -> float | None:
        """Share of some of its whole problems that have a correct sample."""
        return sum(any(self.scores[problem]) for problem in problems) / len(problems) if problems else None


class Progress:
    """Counts what it is told."""

    def __init__(self, plan: Plan, problems: Problems, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan, self._clock = plan, clock
        self._tallies = {(task, arm.method, arm.temperature): Tally(len(asked) * plan.samples)
                         for task, asked in problems.items() for arm in plan.arms}
        self._began: float | None = None
        self._sampled_at = 0.0
        """When the last sample of any line came."""

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

    def start(self) -> None:
        """What is told from now on is this session's work."""
        self._began = self._sampled_at = self._clock()

    @property
    def done(self) -> int:
        """Samples that are there."""
        return sum(tally.done for tally in self._tallies.values())

    @property
    def total(self) -> int:
        """Samples that the run is to have."""
        return sum(tally.total for tally in self._tallies.values())

    @property
    def whole(self) -> int:
        """Problems that have all samples and their scores, of every line."""
        return sum(len(tally.whole) for tally in self._tallies.values())

    @property
    def speed(self) -> float | None:
        """Tokens of finished samples per second of this session; None before the first."""
        tokens = sum(tally.tokens for tally in self._tallies.values())
        elapsed = 0.0 if self._began is None else self._sampled_at - self._began
        return tokens / elapsed if elapsed else None

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at this session's pace; None before its first sample."""
        new = sum(tally.done - tally.before for tally in self._tallies.values())
        elapsed = 0.0 if self._began is None else self._sampled_at - self._began
        return (self.total - self.done) * elapsed / new if new and elapsed else None

    def _common(self, task: str) -> set[str]:
        """Problems that are whole with every method: other ones would make the methods look different."""
        return set.intersection(*(tally.whole for (name, *_), tally in self._tallies.items() if name == task))

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Cells of the table, the first one the names."""
        n = self._plan.samples
        yield "task", "method", "T", "done", "pass@1", f"pass@{n}", "thinking", "cut", "tokens/s", "left"
        for (task, method, temperature), tally in self._tallies.items():
            new, complete = tally.done - tally.before, tally.done == tally.total
            elapsed = 0.0 if tally.began is None else (tally.last if complete else self._clock()) - tally.began
            speed = f"{tally.tokens / elapsed:.0f}" if elapsed and new else "-"
            common = self._common(task)
            left = duration((tally.total - tally.done) * elapsed / new) if new else "-"
            yield (task, method, f"{temperature:g}", f"{tally.done}/{tally.total}", _percent(tally.pass_at_1(common)),
                   _percent(tally.solved(common)), f"{tally.thinking / tally.done:.0f}" if tally.done else "-",
                   str(tally.truncated), speed, "" if complete else left)

    def lines(self) -> list[str]:
        """The table as plain text."""
        rows = list(self.rows())
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return ["  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                          for i, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in rows]


def duration(seconds: float) -> str:
    """In the unit that a person would use."""
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
