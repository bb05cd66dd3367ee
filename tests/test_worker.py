"""Requests to a worker: served, told apart, cancelled, closed. Real processes, a fake engine."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from worker_processes import alive, count_to, fake, linux, pid_of

from ledlocal.values.errors import BadInput, EngineDied, LedlocalError, OutOfResources
from ledlocal.values.events import Event, Finished, Notice, Started, Token
from ledlocal.values.params import Request
from ledlocal.worker.client import Worker


def test_serves_one_request_after_another() -> None:
    with fake() as worker:
        assert worker.loaded.model.name == "fake"
        for n in (3, 0, 5):
            events = count_to(worker, n)
            tokens = [e for e in events if isinstance(e, Token)]
            assert [t.i for t in tokens] == list(range(n))
            last = events[-1]
            assert isinstance(last, Finished) and last.finish == "stop" and len(last.ids) == n


def test_all_samples_come() -> None:
    with fake() as worker:
        events = count_to(worker, 2, samples=5)
        assert sorted(e.sample for e in events if isinstance(e, Finished)) == [0, 1, 2, 3, 4]
        assert len(events) == 5 + 2 * 5 + 5


def test_requests_overlap_and_are_told_apart() -> None:
    with fake() as worker:
        both = threading.Barrier(2)
        seen: dict[int, list[Event]] = {}

        def run(n: int) -> None:
            events = seen[n] = []
            for event in worker.generate(Request(prompt=f"count {n}")):
                if isinstance(event, Started):
                    both.wait(5)  # Passes only if both are open at once.
                events.append(event)

        threads = [threading.Thread(target=run, args=(n,)) for n in (20, 30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for n, events in seen.items():
            assert [e.text for e in events if isinstance(e, Token)] == [f"count {n}/0"] * n
            assert isinstance(events[-1], Finished) and len(events[-1].ids) == n


def test_a_large_request_passes() -> None:
    with fake() as worker:
        prompt = "count 1 " + "ü" * 10**6
        assert any(isinstance(e, Token) and e.text == f"{prompt}/0" for e in worker.generate(Request(prompt=prompt)))


def test_a_request_over_the_limit_is_refused_and_the_next_works() -> None:
    with fake() as worker:
        with pytest.raises(BadInput, match="over the limit of 64 MiB"):
            list(worker.generate(Request(prompt="x" * (2**26 + 1))))
        assert count_to(worker, 1)


@pytest.mark.parametrize(("prompt", "error", "text"), [
    ("refuse", BadInput, "the prompt is refused"), ("memory", OutOfResources, "the KV cache is full")])
def test_errors_of_the_engine_are_raised_here_and_the_next_request_works(
        prompt: str, error: type[LedlocalError], text: str) -> None:
    with fake() as worker:
        with pytest.raises(error, match=text) as caught:
            list(worker.generate(Request(prompt=prompt)))
        assert type(caught.value) is error
        assert count_to(worker, 2)


def test_an_error_at_loading_is_raised_here() -> None:
    with pytest.raises(BadInput, match=r"^missing: no such file$"):
        fake("missing")


def cancelled(worker: Worker, interrupt: Callable[[], object], samples: int = 1) -> list[Event]:
    """Generate without end; call `interrupt` at the third token."""
    events: list[Event] = []
    for event in worker.generate(Request(prompt="count 100000", n=samples)):
        events.append(event)
        if isinstance(event, Token) and event.i == 2 and event.sample == 0:
            interrupt()
    return events


@pytest.mark.parametrize("samples", [1, 3])
def test_cancel_from_another_thread(samples: int) -> None:
    with fake() as worker:
        events = cancelled(worker, threading.Timer(0.05, worker.cancel).start, samples)
        ends = [e for e in events if isinstance(e, Finished)]
        assert [e.finish for e in ends] == ["cancelled"] * samples
        assert count_to(worker, 1)


def test_cancel_reaches_a_step_in_flight() -> None:
    with fake() as worker:
        events = worker.generate(Request(prompt="long-step"))
        assert [type(next(events)) for _ in range(3)] == [Started, Token, Token]
        time.sleep(0.05)  # Now inside the step.
        worker.cancel()
        last = list(events)[-1]
        assert isinstance(last, Finished) and last.finish == "cancelled"


def test_cancel_from_a_signal_handler_while_waiting() -> None:
    with fake() as worker:
        before = signal.signal(signal.SIGUSR1, lambda *_: worker.cancel())
        try:
            kill = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
            events = cancelled(worker, kill.start)
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert isinstance(events[-1], Finished) and events[-1].finish == "cancelled"


def test_answer_now_reaches_the_engine() -> None:
    with fake() as worker:
        last = cancelled(worker, worker.answer_now)[-1]
        assert isinstance(last, Finished) and last.finish == "length"


def test_cancel_of_nothing_does_nothing() -> None:
    with fake() as worker:
        worker.cancel()
        worker.answer_now()
        worker.watch("all")
        assert isinstance(count_to(worker, 2)[-1], Finished)


def test_more_is_said_from_a_moment_on() -> None:
    with fake() as worker:
        events = worker.generate(Request(prompt="count 200"))
        for event in events:
            if isinstance(event, Token) and event.i == 2:
                worker.watch("all")
                worker.watch("candidates")  # cannot be; the request goes on
                break
        rest = list(events)
        assert [event.text for event in rest if isinstance(event, Notice)] == ["no tap runs"]
        said = [event.text for event in rest if isinstance(event, Token)]
        assert said[-1] == "count 200/0 all" and isinstance(rest[-1], Finished)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_an_iterator_closed_early_cancels_and_the_next_request_works(taken: int) -> None:
    with fake() as worker:
        for _ in range(3):
            with contextlib.closing(worker.generate(Request(prompt="count 100000"))) as events:
                for _ in range(taken):
                    next(events)
        events_of_next = count_to(worker, 4)
        assert [e.text for e in events_of_next if isinstance(e, Token)] == ["count 4/0"] * 4
        assert not worker._open


@linux
def test_close_ends_a_worker_whatever_it_does() -> None:
    for prompt in ("count 100000", "sleep", "hold"):
        worker = fake()
        events = worker.generate(Request(prompt=prompt))
        assert [type(next(events)) for _ in range(3)] == [Started, Token, Token]
        pid = pid_of(worker)
        time.sleep(0.05)  # Now inside the fault.
        worker.close()
        assert not alive(pid)
        with pytest.raises(EngineDied, match=r"^the engine was closed$"):
            list(events)
        with pytest.raises(EngineDied, match=r"^the engine was closed$"):
            count_to(worker, 1)
        worker.close()


@linux
def test_no_thread_and_no_descriptor_is_left() -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    before = held()
    for _ in range(2):
        with fake() as worker:
            count_to(worker, 1)
        with pytest.raises(BadInput):
            fake("missing")
    assert held() == before
