"""What is known of a run: its samples and scores, what they count to, and the samples that are under way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ledlocal.evals.observer import Underway
from ledlocal.evals.plan import Plan
from ledlocal.evals.progress import Progress
from ledlocal.evals.reading import Reading
from ledlocal.evals.run_folder import Key, Sample, Score
from ledlocal.evals.task import Problems
from ledlocal.values.events import Failed, Finished, Started, Token
from ledlocal_tui.tally import Tally


@dataclass(frozen=True, slots=True)
class Heard:
    """Something of a sample that is under way."""

    key: Key
    event: Underway


@dataclass(frozen=True, slots=True)
class Anew:
    """Everything before it is out of date."""


@dataclass(frozen=True, slots=True)
class Began:
    """What comes from now on is new work."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more is kept."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line for the log, and for the status until another one comes."""

    text: str


News = Sample | Score | Heard | Anew | Began | Ended | LogLine


@dataclass(slots=True)
class LiveSample:
    """A sample that is under way, or was when somebody looked."""

    key: Key
    began: float
    """Monotonic seconds."""
    tokens: list[Token] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    ended: Finished | Failed | Ended | None = None
    """Failed: its engine died, and another one begins it again; Ended: with the run, before it was whole."""

    @property
    def seconds(self) -> float:
        """Since its first token was asked for."""
        return time.monotonic() - self.began

    @property
    def speed(self) -> float:
        """Tokens per second."""
        return self.tally.tokens / self.seconds if self.seconds else 0.0


class RunState:
    """Grows by news; changed by one thread only."""

    def __init__(self, plan: Plan, problems: Problems) -> None:
        self.plan, self.problems = plan, problems
        self.log: list[str] = []
        """Each with the time of day."""
        self.generation = 0
        """Rises when everything before is forgotten."""
        self.said = ""
        """By the evaluation, last."""
        self.ended = False
        """Nothing more is done."""
        self._forget()

    def _forget(self) -> None:
        self.progress = Progress(self.plan, self.problems)
        self.samples: dict[Key, Sample] = {}
        self.scores: dict[Key, Score] = {}
        self.under_way: dict[Key, LiveSample] = {}
        self._judged: Counter[tuple[str, str]] = Counter()
        """Scores by task and problem."""
        self.began = False
        """What was there before is known; what is told now is work."""
        self.touched = {(task, problem.id) for task, asked in self.problems.items() for problem in asked}
        """Problems of which something is new to whoever empties this."""

    @property
    def reading(self) -> Reading:
        """For reading what is there; it grows with this."""
        return Reading(self.plan, self.problems, self.samples, self.scores)

    def take(self, news: Iterable[News]) -> None:
        """Learn what came."""
        for one in news:
            match one:
                case Sample() if one.key not in self.samples:
                    self.samples[one.key] = one
                    self.progress.sampled(one)
                    self.touched.add((one.task, one.problem))
                    self._say_if_whole(one)
                case Score() if one.key not in self.scores:
                    self.scores[one.key] = one
                    self.progress.scored(one)
                    self.touched.add((one.task, one.problem))
                    self._judged[one.task, one.problem] += 1
                    self._say_if_whole(one)
                case Heard(key, event) if not self.ended:  # threads that ask an engine end later than the run
                    self._hear(key, event)
                case LogLine(text):
                    self.said = text
                    self._say(text)
                case Began():
                    self.progress.start()
                    self._say(f"{self.progress.done} of {self.progress.total} samples are there")
                    self.began = True
                case Ended():
                    self._end(one)
                case Anew():
                    self._say("its files were replaced; reading them again")
                    self.generation += 1
                    self._forget()

    def _end(self, end: Ended) -> None:
        self.ended = True
        self.progress.end()
        for live in self.under_way.values():
            self._finish(live, end)
        self.under_way.clear()

    @staticmethod
    def _finish(live: LiveSample, end: Finished | Failed | Ended) -> None:
        live.ended, live.tally.ended = end, True

    def _say(self, text: str) -> None:
        self.log.append(f"{time.strftime('%H:%M:%S')}  {text}")

    def _say_if_whole(self, one: Sample | Score) -> None:
        """What a problem came to, once it has all samples of all methods; not of those that were there before."""
        total = len(self.plan.arms) * self.plan.samples
        if not self.began or self._judged[one.task, one.problem] < total:
            return
        problem, reading = next(asked for asked in self.problems[one.task] if asked.id == one.problem), self.reading
        if len(reading.all_said(one.task, problem)) == total:
            self._say(f"{one.task} {one.problem}: " + ", ".join(
                f"{reading.name(arm)} {reading.count(one.task, problem, arm)}" for arm in self.plan.arms))

    def _hear(self, key: Key, event: Underway) -> None:
        if isinstance(event, Started):
            everywhere = any((arm.method, arm.temperature) == (key.method, key.temperature)
                             and arm.sampling(None)[1].led.scope == "all" for arm in self.plan.arms)
            self.under_way[key] = LiveSample(key, time.monotonic(), tally=Tally(answers=everywhere))
        elif isinstance(event, Token) and key in self.under_way:
            live = self.under_way[key]
            live.tokens.append(event)
            live.tally.add(event)
        elif isinstance(event, Finished | Failed) and key in self.under_way:
            self._finish(self.under_way.pop(key), event)
