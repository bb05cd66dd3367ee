"""An evaluation at work: every sample that is missing is asked for, kept, judged and kept again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from ledlocal.evals.arm import Arm
from ledlocal.evals.grading import Grader
from ledlocal.evals.observer import Observer
from ledlocal.evals.plan import FROZEN_DATE, Plan
from ledlocal.evals.run_folder import SAMPLES, SCORES, TIMINGS, Key, RunFolder, Sample, Score, to_records
from ledlocal.evals.task import Asked, Grade, Problem, Task
from ledlocal.values.errors import EngineDied, PromptTooLong
from ledlocal.values.events import Event, Exploration, Failed, Finished, Loaded, Prefilled, Started, Token
from ledlocal.values.params import Detail, Message, Request
from ledlocal.worker.client import Worker

DEATHS = 3
"""Of the engine in a row without a finished sample: then it is not the machine's mood, and the run ends."""
TICK_S = 0.2
NOTHING = Exploration(0, 0, (), None)


@dataclass(frozen=True, slots=True)
class Job:
    """Samples of one problem that follow each other."""

    task: Task
    problem: Problem
    arm: Arm
    first: int
    count: int

    def key(self, sample: int) -> Key:
        """Of one of its samples."""
        return Key(self.task.name, self.problem.id, self.arm.method, self.arm.temperature, sample)

    def request(self, plan: Plan, loaded: Loaded, detail: Detail = "none") -> Request:
        """Methods share their random numbers: the stream is named by problem and sample alone."""
        thinking, answer = self.arm.sampling(loaded)
        return Request(
            messages=(Message("user", self.problem.question),), thinking=thinking, answer=answer, n=self.count,
            seed=plan.seed, problem=f"{self.task.name}/{self.problem.id}", first_sample=self.first,
            max_tokens=plan.max_tokens, reasoning=plan.reasoning, reasoning_budget=plan.reasoning_budget,
            detail=detail, date=FROZEN_DATE)


def jobs(plan: Plan, asked: Asked, have: Container[Key]) -> Iterator[Job]:
    """What is missing, one problem after the other: all methods on it, so that a run cut short is still paired."""
    for task, problems in asked.values():
        for problem in problems:
            for arm in plan.arms:
                start: int | None = None
                for i in range(plan.samples + 1):
                    missing = i < plan.samples and Job(task, problem, arm, i, 1).key(i) not in have
                    if missing and start is None:
                        start = i
                    elif not missing and start is not None:
                        yield Job(task, problem, arm, start, i - start)
                        start = None


class Evaluation:
    """One session of a run."""

    def __init__(self, folder: RunFolder, plan: Plan, asked: Asked, grader: Grader, observer: Observer) -> None:
        self._folder, self._plan, self._asked = folder, plan, asked
        self._grader, self._observer = grader, observer
        self._problems = {(name, problem.id): (task, problem) for name, (task, problems) in asked.items()
                          for problem in problems}
        self._grades: list[tuple[Sample, Grade | Future[Grade]]] = []
        self.samples = folder.samples()
        scores = folder.scores()
        self.scores = {key: score for key, score in scores.items()
                       if score.grading == plan.grading and key in self.samples}
        self._outdated = len(self.scores) < len(scores)
        """Some were judged otherwise, or of samples that are gone."""
        self._worker: Worker | None = None
        self._under_way: dict[Key, int] = {}
        """Number of the request."""
        self._cancelled: set[Key] = set()

    @property
    def complete(self) -> bool:
        """Every sample is there and has its score."""
        return len(self.scores) == len(self.samples) and not next(jobs(self._plan, self._asked, self.samples), None)

    def run(self, start: Callable[[], Worker]) -> None:
        """Until nothing is missing. `start` gives an engine; one that dies is replaced.

        Raises EngineDied after DEATHS in a row. Whatever ends it, what was finished is kept.
        """
        for sample in self.samples.values():
            self._observer.sampled(sample)
        for score in self.scores.values():
            self._observer.scored(score)
        self._observer.begin(self._cancel)
        for key, sample in self.samples.items():
            if key not in self.scores:
                self._grade(sample)
        began, already = time.perf_counter(), set(self.samples)
        try:
            self._sample(start)
            self._collect(wait=True)
            if lacking := self._cancelled - self.samples.keys():
                self._observer.note(f"{len(lacking)} sample{'s' * (len(lacking) > 1)} cancelled; the same command "
                                    "asks again")
        finally:
            new = [sample for key, sample in self.samples.items() if key not in already]
            if new:
                took, tokens = time.perf_counter() - began, sum(one.thinking_tokens + one.answer_tokens for one in new)
                self._folder.append(TIMINGS, [{"session_s": took, "samples": len(new), "tokens": tokens,
                                               "tokens_per_s": tokens / took}])

    def _cancel(self, key: Key) -> bool:
        number = self._under_way.get(key)
        if number is None or self._worker is None:
            return False
        self._cancelled.add(key)
        self._worker.cancel_sample(number, key.sample)
        return True

    def _missing(self) -> Iterator[Job]:
        """What is left to do in this session."""
        return jobs(self._plan, self._asked, self.samples.keys() | self._cancelled)

    def _sample(self, start: Callable[[], Worker]) -> None:
        """Until nothing is missing, with one engine after the other."""
        deaths = 0
        while next(self._missing(), None):
            before = len(self.samples)
            try:
                with start() as worker:
                    self._session(worker)
            except EngineDied as error:
                for key, number in self._under_way.items():
                    self._observer.heard(key, Failed(number, str(error), type(error).__name__))
                self._under_way.clear()
                deaths = deaths + 1 if len(self.samples) == before else 1
                if deaths == DEATHS:
                    raise
                self._observer.note(f"{error}; starting it again")

    def _session(self, worker: Worker) -> None:
        """All that is missing, from one engine."""
        left, lock = self._missing(), threading.Lock()
        outcomes: SimpleQueue[tuple[Job, Finished] | BaseException | None] = SimpleQueue()
        self._worker, loaded = worker, worker.loaded

        def ask() -> None:
            try:
                while True:
                    with lock:
                        job = next(left, None)
                    if job is None:
                        break
                    for event in _events(worker, job, job.request(self._plan, loaded, self._observer.detail)):
                        self._hear(job, event)
                        if isinstance(event, Finished):
                            outcomes.put((job, event))
            except BaseException as error:
                outcomes.put(error)
            outcomes.put(None)

        # twice as many samples under way as there are slots, so that none waits for a straggler
        count = 2 * -(-loaded.model.slots // self._plan.samples)
        for i in range(count):
            threading.Thread(target=ask, name=f"samples {i}", daemon=True).start()
        self._receive(outcomes, count)

    def _hear(self, job: Job, event: Event) -> None:
        """In any thread."""
        if isinstance(event, Prefilled | Started | Token | Finished):
            key = job.key(event.sample)
            if isinstance(event, Started):
                self._under_way[key] = event.request
            elif isinstance(event, Finished):
                self._under_way.pop(key, None)
            self._observer.heard(key, event)

    def _receive(self, outcomes: SimpleQueue[tuple[Job, Finished] | BaseException | None], asking: int) -> None:
        """Keep what comes until all threads have ended; what came before an error is kept, too."""
        failure: BaseException | None = None
        try:
            while asking:
                try:
                    batch = [outcomes.get(timeout=TICK_S)]
                except Empty:
                    batch = []
                while not outcomes.empty():
                    batch.append(outcomes.get())
                asking -= sum(one is None for one in batch)
                failure = failure or next((one for one in batch if isinstance(one, BaseException)), None)
                self._keep([one for one in batch if isinstance(one, tuple)])
                self._collect(wait=False)
                self._observer.tick()
                if failure is not None and not isinstance(failure, EngineDied):
                    break
        finally:
            left = []
            while not outcomes.empty():
                left.append(outcomes.get())
            self._keep([one for one in left if isinstance(one, tuple)])
        if failure is not None:
            raise failure

    def _keep(self, finished: list[tuple[Job, Finished]]) -> None:
        """Write samples, then have them judged."""
        samples: dict[Key, Sample] = {}
        timings = []
        for job, event in finished:
            key = job.key(event.sample)
            if event.finish == "cancelled" or key in self.samples or key in samples:
                continue
            samples[key] = Sample(
                *key, event.finish, event.reason, event.prompt_tokens, event.thinking_tokens, event.answer_tokens,
                event.led.explored, event.led.changed, event.led.depth_histogram, event.thinking, event.answer)
            timings.append({**key._asdict(), "prefill_s": event.prefill_s, "decode_s": event.decode_s})
        if not samples:
            return
        self._folder.append(SAMPLES, samples.values())
        self._folder.append(TIMINGS, timings)
        for key, sample in samples.items():
            self.samples[key] = sample
            self._observer.sampled(sample)
            self._grade(sample)

    def _grade(self, sample: Sample) -> None:
        task, problem = self._problems[sample.task, sample.problem]
        settled = settled_grade(sample, self._plan.grading, task.graded)
        self._grades.append((sample, settled or self._grader.submit(
            task, problem, graded_text(sample, self._plan.grading))))

    def _collect(self, wait: bool) -> None:
        """Write the scores that are there; `wait`: all of them."""
        ready: list[Score] = []
        later: list[tuple[Sample, Grade | Future[Grade]]] = []
        for sample, grade in self._grades:
            if isinstance(grade, Grade):
                ready.append(score_of(sample, self._plan.grading, grade))
            elif wait or grade.done():
                if wait:
                    self._observer.tick()
                ready.append(score_of(sample, self._plan.grading, self._grader.grade_of(grade)))
            else:
                later.append((sample, grade))
        self._grades = later
        if ready and self._outdated:  # a reader takes the first score that it finds
            self._folder.write(SCORES, to_records([*self.scores.values(), *ready]))
            self._outdated = False
        elif ready:
            self._folder.append(SCORES, ready)
        for score in ready:
            self.scores[score.key] = score
            self._observer.scored(score)


def _events(worker: Worker, job: Job, request: Request) -> Iterator[Event]:
    """What becomes of each sample; a prompt that this context cannot hold ends them all, and nothing else."""
    try:
        with closing(worker.generate(request)) as events:
            yield from events
    except PromptTooLong as error:
        for sample in range(job.first, job.first + job.count):
            yield Finished(0, sample, "invalid", str(error), "", "", (), 0, 0, 0, 0, 0.0, 0.0, NOTHING)


def graded_text(sample: Sample, grading: str) -> str:
    """What a grader reads."""
    return sample.answer if grading == "answer" else f"{sample.thinking}\n{sample.answer}"


def settled_grade(sample: Sample, grading: str, graded: bool) -> Grade | None:
    """The grade of a sample that needs no grader. `graded`: answers to its task can be judged; else none is wrong."""
    if sample.finish == "invalid":
        return Grade(None, None, sample.reason)
    if sample.finish == "length" and grading == "answer" and graded:
        return Grade(False, None, "cut short")
    return None


def score_of(sample: Sample, grading: str, grade: Grade) -> Score:
    """A grade as it is kept."""
    return Score(*sample.key, grading, grade.correct, grade.vote, grade.reason)
