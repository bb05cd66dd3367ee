"""One request at work: its events wait here until the screen takes them."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue

from ledlocal.reply import Engine
from ledlocal.values.errors import LedlocalError
from ledlocal.values.events import Event, Started, Token
from ledlocal.values.params import Request


class Feed:
    """Reads an engine in a thread of its own: the model never waits for the screen, and no event is lost."""

    def __init__(self, engine: Engine, request: Request) -> None:
        """Send the request."""
        self.request = request
        self.error: LedlocalError | None = None
        """What ended it early; to be looked at once it has ended."""
        self.began: float | None = None
        """When the prompt was read and tokens began to come, on the clock of time.monotonic."""
        self.thought: float | None = None
        """When the last token of the thought came."""
        self._engine = engine
        self._cancelled = self._answers_now = False
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._done = threading.Event()
        threading.Thread(target=self._read, name="events of a request", daemon=True).start()

    def cancel(self) -> None:
        """End it soon, with whatever else its engine is asked."""
        self._cancelled = True
        self._engine.cancel()

    def answer_now(self) -> None:
        """End its thinking."""
        self._answers_now = True
        self._engine.answer_now()

    def comes_from(self, engine: Engine | None) -> bool:
        """Whether this engine serves it."""
        return self._engine is engine

    def take(self) -> list[Event]:
        """What has come since the last time."""
        return [self._events.get() for _ in range(self._events.qsize())]

    @property
    def ended(self) -> bool:
        """Nothing more comes, and everything was taken."""
        return self._done.is_set() and self._events.empty()

    def _read(self) -> None:
        try:
            for event in self._engine.generate(self.request):
                if isinstance(event, Started):
                    self.began = time.monotonic()
                    if self._cancelled:  # before the engine knew of the request; by now it may serve another one
                        self._engine.cancel_sample(event.request, event.sample)
                    elif self._answers_now:
                        self._engine.answer_now()
                elif isinstance(event, Token) and event.phase == "thinking":
                    self.thought = time.monotonic()
                self._events.put(event)
        except LedlocalError as error:
            self.error = error
        except Exception as error:  # a mistake of ours: the user is to know why nothing comes
            self.error = LedlocalError(f"unexpected {type(error).__name__}: {error}")
        finally:
            self._done.set()
