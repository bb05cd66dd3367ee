"""Child side: owns the engine and libllama, and is disposable.

The main thread runs the engine, a second one reads commands, so that a cancel reaches a decode in flight and the end
of the parent ends the worker at once. It never exits through the interpreter's teardown: the library's threads may run.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import NoReturn, Protocol

from ledlocal.values.errors import LedlocalError
from ledlocal.values.events import Event, Failed, Finished, Loaded, Notice
from ledlocal.values.params import Detail, EngineOptions, Request
from ledlocal.worker.process import UNEXPECTED, prepare_process
from ledlocal.worker.protocol import (
    AnswerNow,
    Cancel,
    Command,
    FrameReader,
    Generate,
    Load,
    ProtocolError,
    Watch,
    encode,
)

SLACK = 8 << 30
"""Bytes of address space that threads may reserve: stacks, and the allocator's arenas of 64 MiB."""


class ServedEngine(Protocol):
    """What the server needs of an engine; `cancel` is called from the reading thread too, and more than once."""

    @property
    def loaded(self) -> Loaded:
        """What was loaded."""

    @property
    def busy(self) -> bool:
        """Some request is open."""

    def submit(self, request: Request) -> int:
        """Take a request; its number. Raises LedlocalError."""

    def step(self) -> list[Event]:
        """Decode once."""

    def cancel(self, request_id: int, sample: int | None = None) -> None:
        """End a request soon, or one sample of it; what is not open is ignored."""

    def answer_now(self, request_id: int) -> None:
        """End a request's thinking; one that is not open is ignored."""

    def watch(self, request_id: int, detail: Detail) -> None:
        """Say more or less of a request's next tokens; one that is not open is ignored. Raises LedlocalError."""


MakeEngine = Callable[[EngineOptions], ServedEngine]


class Server:
    """Commands in, events out, over one socket. The parent's request numbers replace the engine's."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._commands: SimpleQueue[Command] = SimpleQueue()
        self._engine: ServedEngine | None = None
        self._ids: dict[int, int] = {}
        """Parent's number -> engine's, of the open requests."""
        self._numbers: dict[int, int] = {}
        """Engine's number -> parent's."""
        self._samples: dict[int, int] = {}
        """Engine's number -> samples not yet finished."""

    def run(self, make_engine: MakeEngine) -> None:
        """Load, then serve until the parent is gone; returns early only if loading failed, which it has told."""
        threading.Thread(target=self._read, name="commands", daemon=True).start()
        load = self._commands.get()
        if not isinstance(load, Load):
            raise ProtocolError(f"the first command must be Load, not {type(load).__name__}")
        try:
            engine = make_engine(load.options)
        except LedlocalError as error:
            self._send(Failed(0, str(error), type(error).__name__))
            return
        self._engine = engine
        limit_growth(engine.loaded.memory)
        self._send(engine.loaded)
        while True:
            while not engine.busy or not self._commands.empty():
                self._obey(engine, self._commands.get())
            self._step(engine)

    def _send(self, *events: Event) -> None:
        self._connection.sendall(b"".join(map(encode, events)))

    def _read(self) -> None:
        """Queue the commands; cancel at once, too. A request still in the queue is cancelled when its turn comes."""
        frames = FrameReader(Command)
        try:
            while data := self._connection.recv(2**16):
                for command in frames.feed(data):
                    if isinstance(command, Cancel) and self._engine is not None:
                        engine_id = self._ids.get(command.number)
                        if engine_id is not None:
                            self._engine.cancel(engine_id, command.sample)
                    self._commands.put(command)
        except ConnectionError:
            pass
        except BaseException:
            _die()
        os._exit(0)

    def _obey(self, engine: ServedEngine, command: Command) -> None:
        match command:
            case Generate(number, request):
                try:
                    engine_id = engine.submit(request)
                except LedlocalError as error:
                    self._send(Failed(number, str(error), type(error).__name__))
                else:
                    self._numbers[engine_id], self._samples[engine_id] = number, request.n
                    self._ids[number] = engine_id
            case Cancel(number, sample) if number in self._ids:
                engine.cancel(self._ids[number], sample)
            case AnswerNow(number) if number in self._ids:
                engine.answer_now(self._ids[number])
            case Watch(number, detail) if number in self._ids:
                try:
                    engine.watch(self._ids[number], detail)
                except LedlocalError as error:  # the request goes on as it was
                    self._send(Notice(number, str(error)))
            case Load():
                raise ProtocolError("a second Load")

    def _step(self, engine: ServedEngine) -> None:
        try:
            events = engine.step()
        except LedlocalError as error:
            if not self._numbers:
                raise
            self._fail_all(engine, error)
        else:
            self._send(*(told for event in events if (told := self._translate(event)) is not None))

    def _fail_all(self, engine: ServedEngine, error: LedlocalError) -> None:
        """The step belongs to every open request: tell each, and let the engine end them unheard."""
        for engine_id, number in list(self._numbers.items()):
            engine.cancel(engine_id)
            self._send(Failed(number, str(error), type(error).__name__))
            self._forget(engine_id)

    def _translate(self, event: Event) -> Event | None:
        """The event with the parent's number; None if its request has already failed."""
        if isinstance(event, Loaded):
            raise TypeError("an engine loads once")
        number = self._numbers.get(event.request)
        if number is None:
            return None
        if isinstance(event, Finished):
            self._samples[event.request] -= 1
        if isinstance(event, Failed) or not self._samples[event.request]:
            self._forget(event.request)
        return replace(event, request=number)

    def _forget(self, engine_id: int) -> None:
        del self._ids[self._numbers.pop(engine_id)], self._samples[engine_id]


def limit_growth(memory: Mapping[str, int]) -> None:
    """No more address space than what is taken after loading, a quarter of what was planned, and SLACK for threads.

    On the CPU only: a GPU's driver reserves address space as it likes.
    """
    if sys.platform == "linux" and set(memory) == {"host"}:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = taken + memory["host"] // 4 + SLACK
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _die() -> NoReturn:
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(UNEXPECTED)


def _real_engine(options: EngineOptions) -> ServedEngine:
    from ledlocal.engine.engine import Engine

    return Engine(options)


def main(make_engine: MakeEngine = _real_engine) -> NoReturn:
    """Serve the parent on the socket whose number is the only argument; never returns."""
    prepare_process()
    try:
        connection = socket.socket(fileno=int(sys.argv[1]))
        connection.set_inheritable(False)
        Server(connection).run(make_engine)
    except ConnectionError:
        pass  # The parent is gone.
    except BaseException:
        _die()
    os._exit(0)
