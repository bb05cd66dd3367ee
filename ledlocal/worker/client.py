"""Parent side: starts a worker, sends requests, yields events. Never loads libllama or NumPy."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import count
from queue import SimpleQueue
from typing import IO, Self

from ledlocal.values.errors import ERRORS, EngineDied, LedlocalError, OutOfResources
from ledlocal.values.events import Event, Failed, Finished, Loaded
from ledlocal.values.params import Detail, EngineOptions, Request
from ledlocal.worker.process import exit_name, last_words
from ledlocal.worker.protocol import AnswerNow, Cancel, FrameReader, Generate, Load, ProtocolError, Watch, encode

# -P: the current folder must not shadow modules; not -I, which would hide a user's own site-packages.
COMMAND = (sys.executable, "-P", "-m", "ledlocal.worker")
_LOADING = 0
_KEPT_OUTPUT = 2**14
_GRACE_S = 2.0
_CLOSING_S = 0.5
"""Time to end by itself for a worker that is wanted no more: it has nothing to lose."""
_NO_SIGPIPE = getattr(socket, "MSG_NOSIGNAL", 0)  # A command may have given SIGPIPE its deadly default.


@dataclass(slots=True)
class _Open:
    """A request that has not ended; forgotten by the receiving thread with its last event."""

    samples: int
    """Not yet finished."""
    inbox: SimpleQueue[Event | None] = field(default_factory=SimpleQueue)
    """None: the worker is dead."""


class Worker:
    """A loaded model in another process; a context manager.

    Requests may overlap, one thread for each `generate`. Once the worker has died every request raises EngineDied.
    """

    loaded: Loaded

    def __init__(self, options: EngineOptions, command: Sequence[str] = COMMAND) -> None:
        """Start `command` (the socket's number is appended) and load; raises what loading raises, or EngineDied."""
        self._open = {_LOADING: _Open(1)}
        self._numbers = count(_LOADING + 1)
        self._outbox: SimpleQueue[bytes] = SimpleQueue()
        self._death: str | None = None
        self._closed = False
        self._output = b""
        self._model = options.model
        try:
            self._socket, child_socket = socket.socketpair()
        except OSError as error:
            raise OutOfResources(f"the engine cannot be started: {error.strerror}") from None
        self._receiver = threading.Thread(
            target=self._live, args=(command, child_socket), name="worker events", daemon=True)
        self._sender = threading.Thread(target=self._send_all, name="worker commands", daemon=True)
        loading = self._open[_LOADING]
        try:
            self._sender.start()
            self._receiver.start()
        except RuntimeError as error:  # no memory for a thread's stack
            self._outbox.put(b"")
            self._socket.close()
            child_socket.close()
            raise OutOfResources(f"the engine cannot be started: {error}") from None
        try:
            self._outbox.put(encode(Load(options)))
            loaded = self._take(loading)
            if not isinstance(loaded, Loaded):
                raise EngineDied(f"the engine answered the loading with {type(loaded).__name__}")
        except BaseException:
            self.close()
            raise
        self.loaded = loaded

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def died(self) -> str | None:
        """What the worker died of, in words; None while it lives."""
        return self._death

    def generate(self, request: Request) -> Generator[Event, None, None]:
        """Send a request and yield its events up to the last sample's Finished.

        Closing the iterator early cancels the request. Raises what the engine raised, or EngineDied.
        """
        number = next(self._numbers)
        frame = encode(Generate(number, request))
        served = self._open[number] = _Open(request.n)
        if self._death is not None:  # It may have died before the line above, and told nobody.
            self._open.pop(number, None)
            raise EngineDied(self._death)
        left = request.n
        try:
            self._outbox.put(frame)
            while left:
                event = self._take(served)
                left -= isinstance(event, Finished)
                yield event
        finally:
            if number in self._open:
                self._outbox.put(encode(Cancel(number)))

    def cancel(self) -> None:
        """End every open request soon; each still gets its Finished. For signal handlers and other threads, too."""
        for number in list(self._open):
            self._outbox.put(encode(Cancel(number)))

    def cancel_sample(self, number: int, sample: int) -> None:
        """End one sample of the request that its events name; it still gets its Finished. From any thread."""
        self._outbox.put(encode(Cancel(number, sample)))

    def answer_now(self) -> None:
        """End the thinking of every open request. For signal handlers and other threads, too."""
        for number in list(self._open):
            self._outbox.put(encode(AnswerNow(number)))

    def watch(self, detail: Detail) -> None:
        """From the next token on, tokens of every open request carry this much. For other threads, too."""
        for number in list(self._open):
            self._outbox.put(encode(Watch(number, detail)))

    def close(self) -> None:
        """End the worker, whatever it does; open requests raise EngineDied. May be repeated."""
        self._closed = True
        self._hang_up()
        self._receiver.join()
        self._sender.join()

    def _take(self, served: _Open) -> Event:
        """The next event; Failed and the worker's death are raised."""
        event = served.inbox.get()
        if event is None:
            raise EngineDied(self._death)
        if isinstance(event, Failed):
            raise ERRORS.get(event.kind, LedlocalError)(event.message)
        return event

    def _hang_up(self) -> None:
        """End the connection, which ends a worker that is well."""
        with contextlib.suppress(OSError):  # It has ended already.
            self._socket.shutdown(socket.SHUT_RDWR)

    def _send_all(self) -> None:
        """Send the outbox: a thread, since a signal must not leave a frame half sent."""
        while frame := self._outbox.get():
            try:
                self._socket.sendall(frame, _NO_SIGPIPE)
            except OSError:
                return  # The receiving thread sees the end, too, and tells.

    def _live(self, command: Sequence[str], child_socket: socket.socket) -> None:
        """The worker's life: start it, dispatch its events, tell its death to every open request.

        The process is started in this thread because Linux ends it with the thread that started it (PR_SET_PDEATHSIG).
        """
        death = "it could not be watched"
        try:
            with self._socket, child_socket, subprocess.Popen(
                    [*command, str(child_socket.fileno())], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, pass_fds=(child_socket.fileno(),), start_new_session=True,
                    bufsize=0) as process:
                child_socket.close()
                assert process.stdout is not None
                death = self._watch(process, process.stdout)
        except OSError as error:
            death = f"engine did not start: {error}"
        finally:
            self._death = "the engine was closed" if self._closed else death
            for served in list(self._open.values()):
                served.inbox.put(None)
            self._open.clear()
            self._outbox.put(b"")

    def _watch(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> str:
        """Dispatch events until the worker is dead; one line on how it died."""
        os.set_blocking(output.fileno(), False)
        violation = None
        try:
            self._dispatch(output.fileno())
        except ProtocolError as error:
            violation = f"it broke the protocol: {error}"
        else:
            self._hang_up()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_CLOSING_S if self._closed else _GRACE_S)
        finally:
            process.kill()
        code = process.wait()
        self._keep_output(output.fileno())
        doing = "loading" if _LOADING in self._open else "generating with" if self._open else "idle with"
        return (f"engine died ({exit_name(code)}) while {doing} {self._model}: "
                f"{violation or last_words(self._output, code)}")

    def _dispatch(self, output: int) -> None:
        """Give each event to its request until the connection ends. Raises ProtocolError."""
        frames = FrameReader(Event)
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            selector.register(self._socket, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if output in ready and not self._keep_output(output):
                    selector.unregister(output)
                if self._socket.fileno() in ready:
                    try:
                        data = self._socket.recv(2**16)
                    except ConnectionError:
                        return
                    if not data:
                        return
                    for event in frames.feed(data):
                        self._deliver(event)

    def _deliver(self, event: Event) -> None:
        number = _LOADING if isinstance(event, Loaded) else event.request
        served = self._open.get(number)
        if served is None:
            raise ProtocolError(f"{type(event).__name__} for request {number}, which is not open")
        if isinstance(event, Finished | Loaded):
            served.samples -= 1
        if isinstance(event, Failed) or not served.samples:
            del self._open[number]
        served.inbox.put(event)

    def _keep_output(self, output: int) -> bool:
        """Read what the worker has written to fds 1 and 2; False at its end."""
        try:
            while data := os.read(output, 2**16):
                self._output = (self._output + data)[-_KEPT_OUTPUT:]
        except BlockingIOError:
            return True
        return False
