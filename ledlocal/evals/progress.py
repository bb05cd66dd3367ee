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
class ArmCount:
    """Samples of one method on one task."""

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
        self._counts = {(task, arm.method, arm.temperature): ArmCount(len(asked) * plan.samples)
                         for task, asked in problems.items() for arm in plan.arms}
        self._began: float | None = None
        self._ended: float | None = None
        self._sampled_at = 0.0
        """When the last sample of any line came."""

    def sampled(self, sample: Sample) -> None:
        """One more is done."""
        count = self._counts[sample.task, sample.method, sample.temperature]
        count.done += 1
        count.truncated += sample.finish == "length"
        count.thinking += sample.thinking_tokens
        if self._began is None:
            count.before += 1
        else:
            count.tokens += sample.thinking_tokens + sample.answer_tokens
            if count.began is None:
                count.began = self._sampled_at
            count.last = self._sampled_at = self._clock()

    def scored(self, score: Score) -> None:
        """One more has a grade."""
        count = self._counts[score.task, score.method, score.temperature]
        count.scored[score.problem] += 1
        if score.correct is not None:
            count.scores[score.problem].append(score.correct)
        if count.scored[score.problem] == self._plan.samples and count.scores[score.problem]:
            count.whole.add(score.problem)

    def start(self) -> None:
        """What is told from now on is this session's work."""
        self._began = self._sampled_at = self._clock()

    def end(self) -> None:
        """Nothing more is told: time stands still, and there is none left."""
        self._ended = self._clock()

    @property
    def done(self) -> int:
        """Samples that are there."""
        return sum(count.done for count in self._counts.values())

    @property
    def total(self) -> int:
        """Samples that the run is to have."""
        return sum(count.total for count in self._counts.values())

    @property
    def whole(self) -> int:
        """Problems that have all samples and their scores, of every line."""
        return sum(len(count.whole) for count in self._counts.values())

    @property
    def speed(self) -> float | None:
        """Tokens of finished samples per second of this session; None before the first."""
        tokens = sum(count.tokens for count in self._counts.values())
        elapsed = 0.0 if self._began is None else self._sampled_at - self._began
        return tokens / elapsed if elapsed else None

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at this session's pace; None before its first sample, and behind the end."""
        if self._ended is not None:
            return None
        new = sum(count.done - count.before for count in self._counts.values())
        elapsed = 0.0 if self._began is None else self._sampled_at - self._began
        return (self.total - self.done) * elapsed / new if new and elapsed else None

    @property
    def compared(self) -> int:
        """Problems that are whole with every method."""
        return sum(len(self._common(task)) for task in {name for name, *_ in self._counts})

    def _common(self, task: str) -> set[str]:
        """Problems that are whole with every method: other ones would make the methods look different."""
        return set.intersection(*(count.whole for (name, *_), count in self._counts.items() if name == task))

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Cells of the table, the first one the names."""
        n, now = self._plan.samples, self._clock() if self._ended is None else self._ended
        yield "task", "method", "T", "done", "pass@1", f"pass@{n}", "thinking", "cut", "tokens/s", "left"
        for (task, method, temperature), count in self._counts.items():
            new, complete = count.done - count.before, count.done == count.total
            elapsed = 0.0 if count.began is None else (count.last if complete else now) - count.began
            speed = f"{count.tokens / elapsed:.0f}" if elapsed and new else "-"
            common = self._common(task)
            left = duration((count.total - count.done) * elapsed / new) if new else "-"
            done = f"{count.done}/{count.total}".rjust(2 * len(str(count.total)) + 1)  # as wide as it will ever be
            yield (task, method, f"{temperature:g}", done, _percent(count.pass_at_1(common)),
                   _percent(count.solved(common)), f"{count.thinking / count.done:.0f}" if count.done else "-",
                   str(count.truncated), speed, "" if complete or self._ended is not None else left)

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
