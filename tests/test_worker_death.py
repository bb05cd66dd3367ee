"""Dying workers, dying parents, and what a worker must not do to either. Real processes and signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from worker_processes import FAKE, alive, count_to, fake, gone_within, linux, pid_of

from ledlocal.values.errors import EngineDied
from ledlocal.values.events import Event, Finished, Started, Token
from ledlocal.values.params import EngineOptions, Request
from ledlocal.worker.client import Worker


@pytest.mark.parametrize(("fault", "line"), [
    ("abort", r"engine died \(SIGABRT\) while {}: some/file.cpp:17: GGML_ASSERT\(x > 0\) failed"),
    ("ggml", r"engine died \(SIGABRT\) while {}: model.cpp:42: GGML_ASSERT\(whole\) failed"),
    ("segv", r"engine died \(SIGSEGV\) while {}: it left no message"),
    ("raise", r"engine died \(exit code 70\) while {}: RuntimeError: nobody foresaw this"),
    ("exit", r"engine died \(exit code 9\) while {}: it left no message"),
])
@pytest.mark.parametrize("doing", ["loading", "generating"])
def test_a_crash_is_one_line(fault: str, line: str, doing: str, capfd: pytest.CaptureFixture[str]) -> None:
    pattern = "^" + line.format(f"loading {fault}" if doing == "loading" else f"{doing} with m") + "$"
    if doing == "loading":
        with pytest.raises(EngineDied, match=pattern):
            fake(fault)
    else:
        with fake() as worker:
            seen: list[Event] = []
            with pytest.raises(EngineDied, match=pattern) as caught:
                seen.extend(worker.generate(Request(prompt=fault)))
            assert caught.value.exit_code == 3
            with pytest.raises(EngineDied, match=pattern):
                count_to(worker, 1)
            worker.cancel()
    assert capfd.readouterr() == ("", "")


def test_tokens_before_a_crash_arrive() -> None:
    seen: list[Event] = []
    with fake() as worker, pytest.raises(EngineDied):
        for event in worker.generate(Request(prompt="abort")):
            seen.append(event)
    assert [e.i for e in seen if isinstance(e, Token)] == [0, 1]


@linux
def test_a_killed_worker_is_one_line_for_every_open_request_and_a_new_one_works() -> None:
    with fake() as worker:
        errors: list[str] = []
        ready = threading.Semaphore(0)

        def run() -> None:
            try:
                for event in worker.generate(Request(prompt="count 100000")):
                    if isinstance(event, Started):
                        ready.release()
            except EngineDied as error:
                errors.append(str(error))

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert ready.acquire(timeout=5)
        os.kill(pid_of(worker), signal.SIGKILL)
        for thread in threads:
            thread.join(5)
        line = "engine died (SIGKILL) while generating with m: killed from outside, often because memory ran out"
        assert errors == [line] * 3
    with fake() as worker:
        assert count_to(worker, 2)


@linux
def test_a_worker_killed_while_idle_is_told_by_the_next_request() -> None:
    with fake() as worker:
        os.kill(pid_of(worker), signal.SIGTERM)
        assert gone_within(pid_of(worker), 5)
        with pytest.raises(EngineDied, match=r"SIGTERM"):
            count_to(worker, 1)


@pytest.mark.parametrize(("behaviour", "text"), [
    ("garbage", "a frame is not JSON"), ("too-long", "a frame of 4294967295 bytes is over the limit")])
def test_a_worker_that_breaks_the_protocol_is_ended(behaviour: str, text: str) -> None:
    with pytest.raises(EngineDied, match=rf"while loading m: it broke the protocol: {text}"):
        fake("m", behaviour)


def test_events_that_nobody_asked_for_end_the_worker() -> None:
    with pytest.raises(EngineDied, match="it broke the protocol: Notice for request 77"):  # noqa: SIM117
        with fake("m", "unasked") as worker:
            count_to(worker, 1)


def test_numbers_that_are_not_finite_do_not_cross() -> None:
    with fake() as worker, pytest.raises(EngineDied, match=r"exit code 70.*JSON"):
        list(worker.generate(Request(prompt="not-finite")))


def test_a_command_that_does_not_exist_is_told() -> None:
    with pytest.raises(EngineDied, match=r"^engine did not start: .*no-such-program"):
        Worker(EngineOptions("m"), ("no-such-program",))


@linux
def test_the_process_is_prepared() -> None:
    with fake() as worker:
        pid = pid_of(worker)
        assert os.getsid(pid) == pid  # Ctrl-C in the terminal goes to another session.
        os.kill(pid, signal.SIGINT)
        assert count_to(worker, 3)
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert "Max core file size        0                    0" in limits
        stdin, stdout, stderr = (Path(f"/proc/{pid}/fd/{fd}").readlink() for fd in range(3))
        assert stdin == Path("/dev/null") and stdout == stderr and str(stdout).startswith("pipe:")
        with contextlib.suppress(PermissionError):
            own = int(Path("/proc/self/oom_score_adj").read_text())
            assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == max(own, 800)


@linux
def test_a_worker_outlives_the_thread_that_made_it() -> None:
    made: list[Worker] = []
    thread = threading.Thread(target=lambda: made.append(fake()))
    thread.start()
    thread.join()
    time.sleep(0.1)
    with made[0] as worker:
        assert isinstance(count_to(worker, 3)[-1], Finished)


PARENT = """
import sys
from ledlocal.values.params import EngineOptions, Request
from ledlocal.worker.client import Worker

with Worker(EngineOptions(sys.argv[2]), sys.argv[3:]) as worker:
    print(worker.loaded.notices[0], flush=True)
    for event in worker.generate(Request(prompt=sys.argv[1])):
        pass
"""


def parent(prompt: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-P", "-c", PARENT, prompt, "m", *FAKE], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@linux
@pytest.mark.parametrize("prompt", ["count 100000", "sleep", "hold"])
def test_a_worker_does_not_outlive_its_parent(prompt: str) -> None:
    with parent(prompt) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        time.sleep(0.1)
        assert alive(pid)
        process.kill()
        process.wait()
        assert gone_within(pid, 1)


def test_noise_of_the_worker_does_not_reach_the_terminal() -> None:
    with parent("noise") as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        time.sleep(0.5)
        os.kill(pid, signal.SIGABRT)
        out, err = process.communicate()
        assert out == ""
        assert "\x1b" not in err.partition("EngineDied")[0] and "noise" not in err
        assert process.returncode == 1
