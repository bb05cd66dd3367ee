"""One reply: from the engine's events to the screens."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from ledlocal.terminal import CHANGED, DIM, SAME, Console, Screen
from ledlocal.trace import TraceWriter
from ledlocal.values.errors import EngineDied
from ledlocal.values.events import Event, Finished, Loaded, Notice, Phase, Started, Token
from ledlocal.values.params import Request


class Engine(Protocol):
    """What a conversation needs of an engine; `ledlocal.worker.client.Worker` is one."""

    @property
    def loaded(self) -> Loaded:
        """Facts of the loaded model."""

    def generate(self, request: Request) -> Iterator[Event]:
        """Events of one request, up to Finished. Raises LedlocalError; EngineDied if the process is gone."""

    def cancel(self) -> None:
        """From any thread or signal handler: the running request ends with Finished(finish='cancelled')."""

    def close(self) -> None:
        """End the process."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A request that was served."""

    request: Request
    started: Started
    finished: Finished

    def statistics(self) -> str:
        """The line under a reply."""
        end = self.finished
        parts = [f"{end.thinking_tokens} thinking + {end.answer_tokens} answer tokens"]
        if end.decode_s > 0:
            parts.append(f"{(len(end.ids) - end.continued) / end.decode_s:.1f} tokens/s")
        parts.append(f"explored {end.led.explored}, changed {end.led.changed}")
        if end.finish != "stop" or end.reason:
            parts.append(f"finish: {end.finish}" + (f" ({end.reason})" if end.reason else ""))
        return " · ".join(parts)


class _Block:
    """The text of one phase, without white space at its start and end."""

    def __init__(self, screen: Screen, style: str) -> None:
        self.screen = screen
        self.style = style
        self.started = False
        self._inside = False  # after the first text; a sign alone may come before it
        self._held = ""  # white space, shown only when more text follows

    def shows(self, token: Token) -> bool:
        return bool(token.text.strip() or self._sign(token))

    def write(self, token: Token) -> None:
        core, sign = token.text.strip(), self._sign(token)
        if not core and not sign:
            self._held += token.text
            return
        lead, trail = token.text.split(core, 1) if core else ("", token.text)
        if self._inside:
            self.screen.write(self._held + lead)
        style = self.style if not token.explored else CHANGED if token.changed else SAME
        self.screen.write(core + sign, style)
        self.started, self._inside, self._held = True, self._inside or bool(core), trail

    def _sign(self, token: Token) -> str:
        return "" if not token.explored or token.marker else self.screen.changed if token.changed else self.screen.same


class ReplyView:
    """Streams the tokens of one reply: the answer on `out`; thinking, dimmed, on `err` unless quiet."""

    def __init__(self, console: Console) -> None:
        answer = _Block(console.out, "")
        self._blocks = {"answer": answer} if console.quiet else {"answer": answer, "thinking": _Block(console.err, DIM)}
        self._phase: Phase | None = None

    def token(self, token: Token) -> None:
        """Show one more token. A marker's own text is empty; what it carries was held back before it."""
        block = self._blocks.get(token.phase)
        if block is None:
            return
        if block.shows(token) and token.phase != self._phase:
            self._leave(blank=block.screen.tty)
            self._phase = token.phase
        block.write(token)

    def close(self) -> None:
        """End the last line of both streams."""
        self._leave(blank=False)
        answer = self._blocks["answer"]
        if answer.started and not answer.screen.tty:
            answer.screen.write("\n")

    def _leave(self, blank: bool) -> None:
        """End the line of the phase shown last. A piped answer stays exact: its only added newline is the last one."""
        if self._phase is None:
            return
        screen = self._blocks[self._phase].screen
        if self._phase == "thinking" or screen.tty:
            screen.write("\n\n" if blank and screen.tty else "\n")


@contextmanager
def interrupt_cancels(engine: Engine) -> Iterator[None]:
    """Within: the first Ctrl-C stops the reply, a second one raises KeyboardInterrupt."""

    def cancel(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        engine.cancel()

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def receive(engine: Engine, request: Request, console: Console, view: ReplyView | None = None,
            trace: TraceWriter | None = None) -> Reply:
    """Generate one sample and show it while it comes.

    Raises what the engine raises; the screens' lines and the trace are complete then too.
    """
    started: Started | None = None
    finished: Finished | None = None
    try:
        with interrupt_cancels(engine):
            for event in engine.generate(request):
                if isinstance(event, Token):
                    if trace:
                        trace.write(event)
                    if view:
                        view.token(event)
                elif isinstance(event, Notice):
                    console.note(event.text)
                elif isinstance(event, Started):
                    started = event
                elif isinstance(event, Finished):
                    finished = event
    finally:
        if view:
            view.close()
        if trace:
            trace.sync()
    if finished is None:
        raise EngineDied("the engine ended a reply without finishing it")
    if started is None:  # stopped before its prompt was read
        started = Started(finished.request, finished.sample, (), 0, 0.0)
    return Reply(request, started, finished)
