"""The real engine and the embedded model behind the worker."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from worker_processes import children

from ledlocal.models import DEMO
from ledlocal.values.errors import BadInput, EngineDied, PromptTooLong
from ledlocal.values.events import Finished, Token
from ledlocal.values.params import EngineOptions, Message, Request
from ledlocal.worker.client import Worker

# A context so long that no request without end reaches it before it is stopped.
OPTIONS = EngineOptions(str(DEMO), context=4096, threads=1)
PUZZLE = (Message("user", "Use 7, 8, 9, 10 and 11 to make 37."),)
ENDLESS = Request(messages=PUZZLE, seed=1, ignore_eos=True)


@pytest.fixture(scope="module")
def shared() -> Iterator[Worker]:
    with Worker(OPTIONS) as worker:
        yield worker


def ids_of(worker: Worker, request: Request) -> tuple[int, ...]:
    *events, last = worker.generate(request)
    assert isinstance(last, Finished)
    assert tuple(e.id for e in events if isinstance(e, Token)) == last.ids
    return last.ids


def test_the_model_answers_and_the_seed_decides(shared: Worker) -> None:
    assert shared.loaded.model.layers > 1
    first, again, other = (ids_of(shared, Request(messages=PUZZLE, seed=seed, max_tokens=40)) for seed in (7, 7, 8))
    assert first == again != other
    assert len(first) > 1


def test_a_request_that_the_engine_refuses_is_raised_here(shared: Worker) -> None:
    with pytest.raises(PromptTooLong, match="context"):
        list(shared.generate(Request(prompt="1 " * 5000)))
    assert ids_of(shared, Request(messages=PUZZLE, max_tokens=3))


def test_cancel_from_another_thread(shared: Worker) -> None:
    last = None
    for last in shared.generate(ENDLESS):
        if isinstance(last, Token) and last.i == 3:
            threading.Thread(target=shared.cancel).start()
    assert isinstance(last, Finished) and last.finish == "cancelled" and len(last.ids) >= 4
    assert ids_of(shared, Request(messages=PUZZLE, max_tokens=3))


def test_an_iterator_left_early_does_not_change_the_next_request(shared: Worker) -> None:
    request = Request(messages=PUZZLE, seed=7, max_tokens=20)
    before = ids_of(shared, request)
    events = shared.generate(ENDLESS)
    next(events)
    events.close()
    assert ids_of(shared, request) == before


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + b"\0" * 20)
    with pytest.raises(BadInput, match=r"m\.gguf") as caught:
        Worker(EngineOptions(str(tmp_path / "m.gguf")))
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="uses /proc")
@pytest.mark.parametrize("fatal", [signal.SIGKILL, signal.SIGABRT])
def test_a_worker_killed_in_mid_generation_is_one_line_and_a_new_one_works(
        fatal: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    before = children()
    with Worker(OPTIONS) as worker:
        [pid] = children() - before
        said = rf"^engine died \({fatal.name}\) while generating with {re.escape(str(DEMO))}: [^\n]*$"
        with pytest.raises(EngineDied, match=said):
            for event in worker.generate(ENDLESS):
                if isinstance(event, Token) and event.i == 3:
                    os.kill(pid, fatal)
    with Worker(OPTIONS) as worker:
        assert ids_of(worker, Request(messages=PUZZLE, max_tokens=3))
    assert capfd.readouterr() == ("", "")
