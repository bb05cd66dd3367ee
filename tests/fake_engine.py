"""An engine that plays back enqueued events, and builders for them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ledlocal.values.events import (
    Candidates,
    Event,
    Exploration,
    Finished,
    Loaded,
    ModelFacts,
    Phase,
    Started,
    Token,
)
from ledlocal.values.params import Detail, EngineOptions, Request

LOADED = Loaded(
    model=ModelFacts(
        path="tiny.gguf", name="tiny", architecture="llama", layers=12, vocabulary=100, context=256,
        trained_context=512,
        slots=1, think_start="<think>", think_end="</think>", think_found="render", sampling={}, chat_template=True,
        template_sha256="ab" * 32),
    tap="plugin", load_s=0.5, memory={"host": 3_000_000})

NO_EXPLORATION = Exploration(0, 0, (0,) * 8, 0.9)


def token(text: str, phase: Phase = "answer", i: int = 0, explored: bool = False, changed: bool = False,
          marker: bool = False, candidates: Candidates | None = None) -> Token:
    return Token(
        request=1, sample=0, i=i, id=7, text=text, phase=phase, marker=marker, forced=False, confidence=0.75,
        entropy=0.5, explored=explored, changed=changed, depth=2 if explored else None, u=(0.25, 0.5),
        candidates=candidates)


def finished(answer: str, thinking: str = "", led: Exploration = NO_EXPLORATION) -> Finished:
    thought = len(thinking.split())
    said = len(answer.split())
    return Finished(
        request=1, sample=0, finish="stop", reason="", answer=answer, thinking=thinking, ids=(7,) * (thought + said),
        continued=0, prompt_tokens=3, thinking_tokens=thought, answer_tokens=said, prefill_s=0.1, decode_s=0.25,
        led=led)


def reply(answer: str, thinking: str = "") -> list[Event]:
    """A whole reply, one token per word, with the white space and markers of a real one."""
    events: list[Event] = [Started(request=1, sample=0, prompt_ids=(1, 2, 3), reused=0, prefill_s=0.1)]
    if thinking:
        events += [token("", "thinking", marker=True), token("\n", "thinking")]
        events += [token(word + " ", "thinking") for word in thinking.split()]
        events += [token("", "thinking", marker=True), token("\n\n")]
    events += [token((" " if n else "") + word) for n, word in enumerate(answer.split())]
    return [*(replace(e, i=i) if isinstance(e, Token) else e for i, e in enumerate(events, -1)),
            finished(answer, thinking)]


Play = Event | Exception | Callable[[], None]


class FakeEngine:
    """Serves what was enqueued, one entry per request; in an entry, exceptions are raised and functions called."""

    def __init__(self, loaded: Loaded = LOADED) -> None:
        self.loaded = loaded
        self.died: str | None = None
        self.options: list[EngineOptions] = []
        self.requests: list[Request] = []
        self.cancelled = False
        self.closed = self.answered = 0
        self.watched: list[Detail] = []
        self._queue: list[Sequence[Play]] = []

    def enqueue(self, play: Sequence[Play]) -> None:
        self._queue.append(play)

    def start(self, options: EngineOptions) -> FakeEngine:
        self.options.append(options)
        return self

    def generate(self, request: Request) -> Iterator[Event]:
        self.requests.append(request)
        self.cancelled = False
        for event in self._queue.pop(0):
            if isinstance(event, Exception):
                raise event
            if callable(event):
                event()
            elif self.cancelled and isinstance(event, Finished):
                yield replace(event, finish="cancelled")
            elif not self.cancelled or isinstance(event, Started):
                yield event

    def cancel(self) -> None:
        self.cancelled = True

    def cancel_sample(self, number: int, sample: int) -> None:
        self.cancelled = True

    def answer_now(self) -> None:
        self.answered += 1

    def watch(self, detail: Detail) -> None:
        self.watched.append(detail)

    def close(self) -> None:
        self.closed += 1


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"
