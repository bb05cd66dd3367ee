"""A worker process with a fake engine: the prompt says what it does. Run as a script by the client."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import time
from dataclasses import dataclass, field

from ledlocal.values.errors import BadInput, OutOfResources, TapRefused
from ledlocal.values.events import Event, Exploration, Finish, Finished, Loaded, ModelFacts, Notice, Started, Token
from ledlocal.values.params import Detail, EngineOptions, Request
from ledlocal.worker.server import main

FACTS = ModelFacts("m.gguf", "fake", "fake", 1, 2, 16, 16, 1, None, None, "none", {}, False, "")


def token(request: int, sample: int, i: int, text: str = "x", confidence: float = 0.5) -> Token:
    return Token(request, sample, i, 1, text, "answer", False, False, confidence, 0.1, False, False, None, (0.1, 0.2))


def finished(request: int, sample: int, finish: Finish, n: int) -> Finished:
    led = Exploration(0, 0, (), None)
    return Finished(request, sample, finish, "", "x" * n, "", (1,) * n, 0, 1, 0, n, 0.0, 0.0, led)


@dataclass
class Job:
    """A request: its samples count to `length` side by side."""

    request: Request
    length: int
    done: int = 0
    cancelled: bool = False
    hurried: bool = False
    watched: Detail = "none"
    words: list[str] = field(default_factory=list)


class FakeEngine:
    """Prompts: `count N`, or a fault that comes after two tokens."""

    def __init__(self, options: EngineOptions) -> None:
        fault(options.model)
        self.loaded = Loaded(FACTS, "none", 0.0, {}, (str(os.getpid()),))
        self.jobs: dict[int, Job] = {}
        self.next_id = 1000  # Not the parent's numbers.

    @property
    def busy(self) -> bool:
        return bool(self.jobs)

    def submit(self, request: Request) -> int:
        words = (request.prompt or "").split()
        if words[0] == "refuse":
            raise BadInput("the prompt is refused")
        self.next_id += 1
        self.jobs[self.next_id] = Job(request, int(words[1]) if words[0] == "count" else 10**9, words=words)
        return self.next_id

    def cancel(self, request_id: int, sample: int | None = None) -> None:
        if request_id in self.jobs:
            self.jobs[request_id].cancelled = True

    def answer_now(self, request_id: int) -> None:
        self.jobs[request_id].hurried = True

    def watch(self, request_id: int, detail: Detail) -> None:
        if detail == "candidates":
            raise TapRefused("no tap runs")
        self.jobs[request_id].watched = detail

    def step(self) -> list[Event]:
        time.sleep(0.002)
        events: list[Event] = []
        for number, job in list(self.jobs.items()):
            samples = range(job.request.n)
            if job.cancelled or job.done == job.length or job.hurried:
                why: Finish = "cancelled" if job.cancelled else "length" if job.hurried else "stop"
                events += [finished(number, s, why, job.done) for s in samples]
                del self.jobs[number]
                continue
            if not job.done:
                events += [Started(number, s, (1,), 0, 0.0) for s in samples]
            if job.done == 2 and job.words[0] == "not-finite":
                events.append(token(number, 0, 2, confidence=float("nan")))
            elif job.done == 2 and job.words[0] == "long-step":
                while not job.cancelled:
                    time.sleep(0.001)
            elif job.done == 2:
                fault(job.words[0])
            said = f" {job.watched}" if job.watched != "none" else ""
            events += [token(number, s, job.done, f"{job.request.prompt}/{s}{said}") for s in samples]
            job.done += 1
        return events


def fault(name: str) -> None:
    """Do what `name` says; nothing if it is no fault."""
    match name:
        case "abort":
            os.write(2, b"some/file.cpp:17: GGML_ASSERT(x > 0) failed\n")
            os.abort()
        case "ggml":
            import llama_cpp.llama_cpp as C

            C.llama_backend_init()
            ctypes.CDLL("libggml-base.so.0").ggml_abort(b"model.cpp", 42, b"GGML_ASSERT(%s) failed", b"whole")
        case "segv":
            ctypes.string_at(0)
        case "raise":
            raise RuntimeError("nobody foresaw this")
        case "memory":
            raise OutOfResources("the KV cache is full")
        case "exit":
            os._exit(9)
        case "hold":  # C code that does not let go of the interpreter's lock.
            ctypes.PyDLL(None).sleep(30)
        case "noise":
            print("noise of Python")
            sys.stdout.flush()
            os.system("echo noise of a child; echo noise on stderr >&2")
            for _ in range(200):
                os.write(1, b"\xff\x1b[2J" * 10_000)
        case "missing":
            raise BadInput("missing: no such file")
        case "sleep":
            time.sleep(30)


def speak(data: bytes) -> None:
    """Send raw bytes instead of serving."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.recv(2**16)
    connection.sendall(data)
    time.sleep(30)


if __name__ == "__main__":
    match sys.argv.pop(1) if len(sys.argv) > 2 else "serve":
        case "garbage":
            speak(b"\x05\x00\x00\x00hello")
        case "too-long":
            speak(b"\xff\xff\xff\xff")
        case "unasked":
            from ledlocal.worker.protocol import encode

            speak(encode(Loaded(FACTS, "none", 0.0, {})) + encode(Notice(77, "hello")))
        case _:
            main(FakeEngine)
