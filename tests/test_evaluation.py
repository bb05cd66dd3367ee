"""One session of a run, with engines that do what the test says: nothing is asked twice, lost or written twice."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import LOADED

from ledlocal.evals.arm import arms
from ledlocal.evals.evaluation import DEATHS, Evaluation
from ledlocal.evals.grading import Grader
from ledlocal.evals.plan import FROZEN_DATE, Plan
from ledlocal.evals.run_folder import SAMPLES, SCORES, TIMINGS, Key, RunFolder, Sample, Score
from ledlocal.evals.task import Asked, Grade, Problem
from ledlocal.values.errors import EngineDied, PromptTooLong
from ledlocal.values.events import Event, Exploration, Finished, Started
from ledlocal.values.params import Detail, Request

PLAN = Plan(("sums",), arms(["standard", "led"], [0.6]), 4, seed=7, max_tokens=99)
METHODS = ("standard", "led", "control")
LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Sums:
    """What is right is said in the answer; `hang` keeps its grader busy."""

    name: str = "sums"
    graded: bool = True

    def problems(self) -> tuple[Problem, ...]:
        return tuple(Problem(f"{p}", f"question {p}", "right", "right") for p in range(3))

    def grade(self, problem: Problem, answer: str) -> Grade:
        if answer == "hang":
            time.sleep(60)
        return Grade("right" in answer, answer)


class FakeGrader:
    """Grades at once, and keeps what it was given."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def submit(self, task: Sums, problem: Problem, answer: str) -> Future[Grade]:
        self.read.append(answer)
        future: Future[Grade] = Future()
        future.set_result(task.grade(problem, answer))
        return future

    def grade_of(self, future: Future[Grade]) -> Grade:
        return future.result()


@dataclass
class Watcher:
    """What an observer was told."""

    samples: list[Key] = field(default_factory=list)
    scores: list[Key] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    at_begin: tuple[int, int] = (-1, -1)
    detail: Detail = "none"
    under_way: list[tuple[Key, str]] = field(default_factory=list)
    cancel: Callable[[Key], bool] = lambda _key: False
    ticks: Callable[[], None] = lambda: None

    def sampled(self, sample: Sample) -> None:
        self.samples.append(sample.key)

    def scored(self, score: Score) -> None:
        self.scores.append(score.key)

    def begin(self, cancel: Callable[[Key], bool]) -> None:
        self.at_begin, self.cancel = (len(self.samples), len(self.scores)), cancel

    def heard(self, key: Key, event: Event) -> None:
        self.under_way.append((key, type(event).__name__))

    def tick(self) -> None:
        self.ticks()

    def note(self, text: str) -> None:
        self.notes.append(text)


def said(request: Request, i: int, **more: Any) -> Finished:
    """The reply that this sample always has."""
    thinking = f"{request.problem} {request.thinking.method} {i}"
    ended = Finished(1, i, "stop", "", "right" if i % 2 else "wrong", thinking, (1,), 0, 3, 10, 2, 0.5, 1.5,
                     Exploration(3, 1, (2, 1), 0.5))
    return replace(ended, **more)


Reply = Callable[[Request, int], Finished]


class FakeWorker:
    """An engine in this process. `lives`: samples that it finishes before it dies."""

    def __init__(self, reply: Reply = said, lives: int = 10**9, slots: int = 1) -> None:
        self.loaded = replace(LOADED, model=replace(LOADED.model, slots=slots))
        self.requests: list[Request] = []
        self.served = self.closed = 0
        self._reply, self._lives, self._lock = reply, lives, threading.Lock()

    def __enter__(self) -> FakeWorker:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed += 1

    def cancel(self) -> None:
        """No request lasts."""

    def generate(self, request: Request) -> Iterator[Finished]:
        with self._lock:
            self.requests.append(request)
        for i in range(request.first_sample, request.first_sample + request.n):
            event = self._reply(request, i)
            with self._lock:
                if not self._lives:
                    raise EngineDied("the engine died")
                self._lives -= 1
            yield event
        with self._lock:
            self.served += request.n


class StartingWorker(FakeWorker):
    """Says when a sample begins; the observer then cancels one. `deaf`: it ends by itself before that is heard."""

    def __init__(self, watcher: Watcher, key: Key | None, deaf: bool = False) -> None:
        super().__init__()
        self.cancelled: list[tuple[int, int]] = []
        self._watcher, self._key, self._deaf = watcher, key, deaf

    def cancel_sample(self, number: int, sample: int) -> None:
        self.cancelled.append((number, sample))

    def generate(self, request: Request) -> Iterator[Event]:  # type: ignore[override]
        for event in super().generate(request):
            yield Started(1, event.sample, (1,), 0, 0.1)
            here = f"sums/{self._key.problem}" == request.problem if self._key else False
            if self._key and here and (self._key.sample, self._key.method) == (
                    event.sample, request.thinking.method):
                assert self._watcher.cancel(self._key)
                if not self._deaf:
                    event = replace(event, finish="cancelled")
            yield event


@dataclass
class Session:
    """An evaluation of the sums in a folder, and what came of it."""

    folder: RunFolder
    plan: Plan = PLAN
    task: Sums = field(default_factory=Sums)
    grader: Any = field(default_factory=FakeGrader)
    watcher: Watcher = field(default_factory=Watcher)

    @property
    def asked(self) -> Asked:
        return {"sums": (self.task, self.task.problems())}

    def evaluation(self) -> Evaluation:
        return Evaluation(self.folder, self.plan, self.asked, self.grader, self.watcher)

    def run(self, *workers: FakeWorker) -> Evaluation:
        waiting = iter(workers)
        evaluation = self.evaluation()
        evaluation.run(lambda: next(waiting))  # type: ignore[arg-type,return-value]
        assert all(worker.closed for worker in workers)
        return evaluation

    def lines(self, name: str) -> int:
        path = self.folder.path / name
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def whole(self) -> bool:
        """Every sample and every score once, and each sample as its engine said it."""
        keys = {Key("sums", problem.id, arm.method, arm.temperature, i) for problem in self.task.problems()
                for arm in self.plan.arms for i in range(self.plan.samples)}
        samples, scores = self.folder.samples(), self.folder.scores()
        return (samples.keys() == scores.keys() == keys and self.lines(SAMPLES) == self.lines(SCORES) == len(keys)
                and all(sample.thinking == f"sums/{sample.problem} {sample.method} {sample.sample}"
                        for sample in samples.values()))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with RunFolder(tmp_path / "run") as folder:
        yield Session(folder)


def kept(problem: str, method: str, i: int, **more: Any) -> Sample:
    given = Sample("sums", problem, method, 0.6, i, "stop", "", 3, 10, 2, 3, 1, (2, 1), f"sums/{problem} {method} {i}",
                   "right" if i % 2 else "wrong")
    return replace(given, **more)


def test_every_sample_is_asked_for_kept_and_judged(session: Session) -> None:
    worker = FakeWorker()
    evaluation = session.run(worker)
    assert session.whole() and evaluation.complete
    assert session.folder.samples()[Key("sums", "1", "led", 0.6, 3)] == kept("1", "led", 3)
    assert {key.sample % 2 == 1 for key, score in session.folder.scores().items() if score.correct} == {True}
    assert Counter(session.watcher.samples) == Counter(session.watcher.scores) == Counter(evaluation.samples.keys())
    assert session.watcher.at_begin == (0, 0)
    assert session.lines(TIMINGS) == 36 + 1  # a session's own line


def test_methods_share_problem_seed_and_sample_numbers(session: Session) -> None:
    worker = FakeWorker()
    session.run(worker)
    for problem in session.task.problems():
        mine = [request for request in worker.requests if request.problem == f"sums/{problem.id}"]
        assert {(request.seed, request.first_sample, request.n) for request in mine} == {(7, 0, 4)}
        assert sorted(request.thinking.method for request in mine) == sorted(METHODS)
        assert {request.messages[0].content for request in mine if request.messages} == {problem.question}
        assert {(request.max_tokens, request.date, request.detail) for request in mine} == {(99, FROZEN_DATE, "none")}
    assert len(worker.requests) == 9


def test_only_what_is_missing_is_asked_for(session: Session) -> None:
    """Of one problem sample 1 is there, of another 0 and 3, of the third all: gaps are asked for, each as a whole."""
    session.plan = replace(PLAN, arms=arms(["standard"], [0.6]))
    have = [kept(p, "standard", i) for p, i in (("0", 1), ("1", 0), ("1", 3), *(("2", i) for i in range(4)))]
    session.folder.append(SAMPLES, have)
    worker = FakeWorker()
    session.run(worker)
    found = [(request.problem, request.first_sample, request.n) for request in worker.requests]
    assert sorted(found) == [("sums/0", 0, 1), ("sums/0", 2, 2), ("sums/1", 1, 2)]
    assert session.whole() and session.watcher.at_begin == (7, 0)
    session.watcher = Watcher()
    again = session.run()  # nothing is missing: no engine is started
    assert again.complete and session.whole() and session.watcher.at_begin == (12, 12)


def test_an_engine_that_dies_is_started_again_and_what_it_finished_is_kept(session: Session) -> None:
    first, second = FakeWorker(lives=10), FakeWorker()
    session.run(first, second)
    assert session.whole()
    assert sum(request.n for request in second.requests) == 36 - 10
    assert session.watcher.notes == ["the engine died; starting it again"]


def test_deaths_that_a_sample_comes_between_do_not_end_it(session: Session) -> None:
    session.run(*(FakeWorker(lives=1) for _ in range(35)), FakeWorker())
    assert session.whole()


def test_deaths_without_a_sample_end_it(session: Session) -> None:
    workers = [FakeWorker(lives=lives) for lives in (5, *(0,) * (DEATHS - 1))]
    with pytest.raises(EngineDied, match="the engine died"):
        session.run(*workers)
    assert len(session.folder.samples()) == session.lines(SAMPLES) == 5
    session.watcher = Watcher()
    session.run(FakeWorker())
    assert session.whole() and session.watcher.at_begin[0] == 5


def test_an_engine_that_cannot_be_started_ends_it_after_as_many_deaths(session: Session) -> None:
    tried = []

    def start() -> Any:
        tried.append(1)
        raise EngineDied("it does not load")

    with pytest.raises(EngineDied, match="it does not load"):
        session.evaluation().run(start)
    assert len(tried) == DEATHS


def refusing(request: Request, i: int) -> Finished:
    if request.problem == "sums/1":
        raise PromptTooLong("the prompt is 9 tokens long, and the context holds 8")
    return said(request, i)


def test_a_prompt_that_is_refused_makes_samples_without_a_grade(session: Session) -> None:
    session.run(FakeWorker(refusing))
    scores = session.folder.scores()
    assert len(scores) == len(session.folder.samples()) == session.lines(SAMPLES) == 36
    refused = {key: score for key, score in scores.items() if score.correct is None}
    assert {key.problem for key in refused} == {"1"} and len(refused) == 12
    assert {score.reason for score in refused.values()} == {"the prompt is 9 tokens long, and the context holds 8"}
    assert {session.folder.samples()[key].finish for key in refused} == {"invalid"}


def test_what_came_before_a_refusal_is_not_replaced_or_doubled(session: Session) -> None:
    def late(request: Request, i: int) -> Finished:
        if i == 2:
            raise PromptTooLong("no more")
        return said(request, i)

    session.run(FakeWorker(late))
    ends = Counter((key.sample, sample.finish) for key, sample in session.folder.samples().items())
    assert ends == {(0, "stop"): 9, (1, "stop"): 9, (2, "invalid"): 9, (3, "invalid"): 9}
    assert session.lines(SAMPLES) == session.lines(SCORES) == 36


def test_another_error_ends_it_and_what_was_finished_is_kept(session: Session) -> None:
    def broken(request: Request, i: int) -> Finished:
        if (request.problem, request.thinking.method, i) == ("sums/1", "led", 2):
            raise ValueError("a bug")
        return said(request, i)

    with pytest.raises(ValueError, match="a bug"):
        session.run(FakeWorker(broken))
    have = session.folder.samples()
    assert {Key("sums", "0", method, 0.6, i) for method in METHODS for i in range(4)} <= have.keys()
    assert session.lines(SAMPLES) == len(have)
    session.run(FakeWorker())
    assert session.whole()


def test_what_is_finished_when_it_is_interrupted_is_kept(session: Session) -> None:
    """The interrupt comes while the engine's samples still wait to be kept."""
    worker = FakeWorker()

    def interrupt() -> None:
        end = time.monotonic() + LIMIT_S
        while worker.served < 36 and time.monotonic() < end:
            time.sleep(0.001)
        raise KeyboardInterrupt

    session.watcher.ticks = interrupt
    with pytest.raises(KeyboardInterrupt):
        session.run(worker)
    assert worker.closed and len(session.folder.samples()) == session.lines(SAMPLES) == 36
    session.watcher = Watcher()
    session.run()  # all that is left is to judge them
    assert session.whole() and session.watcher.at_begin[0] == 36


def test_cancelled_samples_are_asked_for_again(session: Session) -> None:
    cut = FakeWorker(lambda request, i: said(request, i, finish="cancelled" if i == 1 else "stop"))
    session.run(cut, FakeWorker())
    assert session.whole()


def test_a_sample_cancelled_by_hand_is_not_kept_and_not_asked_for_again_in_this_session(session: Session) -> None:
    """It is cancelled in the middle of its reply; the rest of the run goes on, and the next session has it."""
    key = Key("sums", "1", "led", 0.6, 2)
    worker = StartingWorker(session.watcher, key)
    session.run(worker)
    assert worker.cancelled == [(1, 2)]
    assert key not in session.folder.samples() and session.lines(SAMPLES) == 35
    assert session.watcher.notes == ["1 sample cancelled; the same command asks again"]
    session.watcher = Watcher()
    second = FakeWorker()
    session.run(second)
    assert session.whole() and second.served == 1


def test_a_cancel_that_comes_too_late_changes_nothing(session: Session) -> None:
    key = Key("sums", "1", "led", 0.6, 2)
    session.run(StartingWorker(session.watcher, key, deaf=True))
    assert session.whole() and session.watcher.notes == []


def test_only_who_wants_to_hears_samples_under_way(session: Session) -> None:
    session.watcher.detail = "forks"
    worker = StartingWorker(session.watcher, None)
    session.run(worker)
    assert {request.detail for request in worker.requests} == {"forks"}
    heard = Counter(session.watcher.under_way)
    assert set(heard.values()) == {1} and len(heard) == 2 * 36  # each began and ended once


@pytest.mark.parametrize("seed", range(15))
def test_engines_that_die_at_any_moment_lose_and_double_nothing(session: Session, seed: int) -> None:
    rng = random.Random(seed)

    def slow(request: Request, i: int) -> Finished:
        time.sleep(rng.random() * 0.002)
        return said(request, i)

    workers = [FakeWorker(slow, rng.randint(1, 9), rng.choice([1, 4, 16])) for _ in range(40)]
    waiting = iter(workers)
    session.evaluation().run(lambda: next(waiting))  # type: ignore[arg-type,return-value]
    assert session.whole()
    assert Counter(session.watcher.samples).most_common(1)[0][1] == 1
    assert Counter(session.watcher.scores).most_common(1)[0][1] == 1


def test_more_slots_have_more_samples_under_way(session: Session) -> None:
    """Twice as many as slots, in whole requests: 2 with one slot, 6 with 12 slots of 4 samples."""
    for slots, want in ((1, 2), (12, 6)):
        together, most, lock = [0], [0], threading.Lock()

        def counting(request: Request, i: int, together: list[int] = together, most: list[int] = most,
                     lock: Any = lock) -> Finished:
            with lock:
                together[0] += 1
                most[0] = max(most[0], together[0])
            time.sleep(0.02)
            with lock:
                together[0] -= 1
            return said(request, i)

        with RunFolder(session.folder.path.with_name(f"run {slots}")) as folder:
            Session(folder).run(FakeWorker(counting, slots=slots))
        assert most[0] == want


def test_an_answer_whose_grader_hangs_is_not_graded(session: Session) -> None:
    session.plan = replace(PLAN, arms=arms(["standard"], [0.6]), samples=2)
    with Grader(2, limit_s=2) as grader:
        session.grader = grader
        session.run(FakeWorker(lambda request, i: said(
            request, i, answer="hang" if (request.problem, i) == ("sums/1", 0) else "right")))
    assert session.whole()
    grades = {(key.problem, key.sample): (score.correct, score.reason)
              for key, score in session.folder.scores().items()}
    assert grades.pop(("1", 0)) == (None, "no grade after 2 s")
    assert set(grades.values()) == {(True, "")} and len(grades) == 5


def cut_short(request: Request, i: int) -> Finished:
    return said(request, i, finish="length", thinking="so it is right", answer="")


@pytest.mark.parametrize(("grading", "reply", "correct", "read"), [
    ("answer", said, {True, False}, {"right", "wrong"}),
    ("paper", cut_short, {True}, {"so it is right\n"}),
    ("answer", cut_short, {False}, set()),
    ("answer", lambda request, i: said(request, i, finish="length", answer="right"), {False}, set()),
    ("paper", lambda request, i: said(request, i, finish="invalid", reason="nan"), {None}, set()),
])
def test_what_a_grader_reads(session: Session, grading: str, reply: Reply, correct: set[bool | None],
                             read: set[str]) -> None:
    """`paper`: thinking and answer; `answer`: the answer alone, and what was cut short is wrong unread."""
    session.plan = replace(PLAN, grading=grading)
    session.run(FakeWorker(reply))
    scores = session.folder.scores().values()
    assert {score.correct for score in scores} == correct and {score.grading for score in scores} == {grading}
    assert set(session.grader.read) == read


def test_paper_grading_reads_thinking_and_answer(session: Session) -> None:
    session.plan = replace(PLAN, grading="paper")
    session.run(FakeWorker())
    assert "sums/0 led 1\nright" in session.grader.read and len(set(session.grader.read)) == 36


def test_a_task_without_grades_has_no_wrong_samples_either(session: Session) -> None:
    """Programs are not run: cut short or not, nobody knows what they are worth."""

    @dataclass(frozen=True, slots=True)
    class Programs(Sums):
        graded: bool = False

        def grade(self, problem: Problem, answer: str) -> Grade:
            return Grade(None, None, "not run")

    session.task = Programs()
    session.run(FakeWorker(lambda request, i: said(request, i, finish="length" if i else "stop")))
    assert {score.correct for score in session.folder.scores().values()} == {None}


def test_samples_without_a_score_are_judged_without_an_engine(session: Session) -> None:
    session.run(FakeWorker())
    path = session.folder.path / SCORES
    lines = path.read_text().splitlines(keepends=True)
    session.folder.write(SCORES, "".join(lines[:20]))
    session.grader, session.watcher = FakeGrader(), Watcher()
    assert not session.evaluation().complete
    session.run()
    assert session.whole() and len(session.grader.read) == 16
    assert sorted(path.read_text().splitlines(keepends=True)) == sorted(lines)


def test_scores_of_another_grading_are_replaced(session: Session) -> None:
    session.plan = replace(PLAN, grading="paper")
    session.run(FakeWorker())
    session.plan, session.watcher = PLAN, Watcher()
    session.run()
    assert session.whole() and session.watcher.at_begin == (36, 0)
    assert {score.grading for score in session.folder.scores().values()} == {"answer"}


def test_scores_of_samples_that_are_gone_do_not_judge_new_ones(session: Session) -> None:
    session.run(FakeWorker(lambda request, i: said(request, i, answer="wrong")))
    session.folder.write(SAMPLES, "")
    session.run(FakeWorker(lambda request, i: said(request, i, answer="right")))
    assert session.whole() and all(score.correct for score in session.folder.scores().values())
