"""One reply: from the engine's events to the screens."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Literal, Protocol

from ledlocal.keys import Typed, listening
from ledlocal.terminal import CHANGED, DIM, SAME, Console, Screen, confidence_style
from ledlocal.trace import TraceWriter
from ledlocal.values.errors import EngineDied, LedlocalError
from ledlocal.values.events import Event, Finished, Loaded, Notice, Phase, Prefilled, Started, Token
from ledlocal.values.params import Detail, Request
from ledlocal.wrap import WordWrap


class Engine(Protocol):
    """What a conversation needs of an engine; `ledlocal.worker.client.Worker` is one."""

    @property
    def loaded(self) -> Loaded:
        """Facts of the loaded model."""

    @property
    def died(self) -> str | None:
        """What the process died of; None while it lives."""

    def generate(self, request: Request) -> Iterator[Event]:
        """Events of one request, up to Finished. Raises LedlocalError; EngineDied if the process is gone."""

    def answer_now(self) -> None:
        """From any thread or signal handler: the running request's thinking ends at the next token."""

    def watch(self, detail: Detail) -> None:
        """From any thread: the running request's tokens carry this much from the next one on, and stay the same."""

    def cancel(self) -> None:
        """From any thread or signal handler: running requests end with Finished(finish='cancelled')."""

    def cancel_sample(self, number: int, sample: int) -> None:
        """From any thread: one sample of the request that its events name ends so."""

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
        if end.tokens_per_s is not None:
            parts.append(f"{end.tokens_per_s:.1f} tokens/s")
        parts.append(f"explored {end.led.explored}, changed {end.led.changed}{_since(end)}")
        if end.finish != "stop" or end.reason:
            parts.append(f"finish: {end.finish}" + (f" ({end.reason})" if end.reason else ""))
        return " · ".join(parts)

    def details(self) -> list[str]:
        """Where the reply explored, one line each."""
        end = self.finished
        prompt = f"{end.prompt_tokens} prompt tokens, {self.started.reused} of them still in memory"
        lines = [f"tokens    {end.thinking_tokens} thinking + {end.answer_tokens} answer · {prompt}",
                 f"time      prompt {end.prefill_s:.2f} s · answer {end.decode_s:.2f} s"]
        if end.led.mean_confidence is not None:
            lines.append(f"confident {end.led.mean_confidence:.1%} on average, the final layer in its favourite")
        if end.led.explored:
            lines.append(f"explored  {end.led.explored}, changed {end.led.changed}{_since(end)}; "
                         "by depth of the mixture:")
            most = max(end.led.depth_histogram)
            lines += [f"  {depth:2} {'▇' * round(24 * count / most) or '▏'} {count}"
                      for depth, count in enumerate(end.led.depth_histogram) if count]
        return lines


def _since(end: Finished) -> str:
    """What tokens before it went on explored is known to who asked for them, not to the reply."""
    return " since it went on" if end.continued else ""


@dataclass(frozen=True, slots=True)
class Look:
    """How a reply is shown."""

    show_thinking: Literal["auto", "always", "never"] = "auto"
    """auto: unless quiet; never: a count in its place."""
    color_by: Literal["explored", "confidence", "none"] = "explored"


class _Block:
    """The text of one phase, without white space at its start and end."""

    def __init__(self, screen: Screen, style: str, look: Look) -> None:
        self.screen = screen
        self.style = style
        self._look = look
        self._write = WordWrap(screen.write, screen.take_back).write if screen.erases else screen.write
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
            self._write(self._held + lead)
        self._write(core + sign, self._style(token))
        self.started, self._inside, self._held = True, self._inside or bool(core), trail

    def break_line(self, newlines: str) -> None:
        self._write(newlines)

    def _style(self, token: Token) -> str:
        if self._look.color_by == "confidence" and not token.forced:
            return confidence_style(token.confidence)
        if self._look.color_by == "none" or not token.explored:
            return self.style
        return CHANGED if token.changed else SAME

    def _sign(self, token: Token) -> str:
        if self._look.color_by != "explored" or not token.explored or token.marker:
            return ""
        return self.screen.changed if token.changed else self.screen.same


class _Count:
    """Thinking that is not shown: one line that counts it while it comes."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.started = False
        self._tokens = self._explored = 0

    def shows(self, token: Token) -> bool:
        return self.screen.tty

    def write(self, token: Token) -> None:
        self._tokens += 1
        self._explored += token.explored
        if self.screen.tty:
            self.started = True
            self.screen.status(f"thinking … {self._tokens} tokens, explored {self._explored}", DIM)

    def break_line(self, newlines: str) -> None:
        self.screen.write(newlines)


class ReplyView:
    """Streams the tokens of one reply: the answer on `out`, thinking on `err`, dimmed."""

    def __init__(self, console: Console, look: Look) -> None:
        self._blocks: dict[Phase, _Block | _Count] = {"answer": _Block(console.out, "", look)}
        if look.show_thinking == "always" or (look.show_thinking == "auto" and not console.quiet):
            self._blocks["thinking"] = _Block(console.err, DIM, look)
        elif not console.quiet:
            self._blocks["thinking"] = _Count(console.err)
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
        block = self._blocks[self._phase]
        if self._phase == "thinking" or block.screen.tty:
            block.break_line("\n\n" if blank and block.screen.tty else "\n")


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
            trace: TraceWriter | None = None, typed: Typed | None = None, came: list[Token] | None = None) -> Reply:
    """Generate one sample and show it while it comes; its tokens are put into `came`.

    With `typed`, keys are listened to (see ledlocal.keys). Raises what the engine raises; the screens' lines, the trace
    and `came` are complete then, too.
    """
    started: Started | None = None
    finished: Finished | None = None

    def complete() -> None:
        if view:
            view.close()
        if trace:
            trace.sync()

    wants_answer = threading.Event()

    def answer_now() -> None:
        wants_answer.set()
        engine.answer_now()

    try:
        keys = listening(answer_now, typed) if typed is not None else nullcontext()
        with interrupt_cancels(engine), keys, console.waiting("reading the prompt") as wait:
            for event in engine.generate(request):
                if isinstance(event, Prefilled):
                    wait.says(f"reading the prompt: {event.cached} of {event.prompt_tokens} tokens")
                    continue
                wait.over()
                if isinstance(event, Token):
                    if came is not None:
                        came.append(event)
                    if trace:
                        trace.write(event)
                    if view:
                        view.token(event)
                elif isinstance(event, Notice):
                    console.note(event.text)
                elif isinstance(event, Started):
                    started = event
                    if wants_answer.is_set():  # a key may come before the engine knows of the request
                        engine.answer_now()
                elif isinstance(event, Finished):
                    finished = event
    except BaseException:
        with suppress(LedlocalError, OSError):  # the first error is the one to tell, as of a terminal that is gone
            complete()
        raise
    complete()
    if finished is None:
        raise EngineDied("the engine ended a reply without finishing it")
    if started is None:  # stopped before its prompt was read
        started = Started(finished.request, finished.sample, (), 0, 0.0)
    return Reply(request, started, finished)
