"""Everything about one sample of one request."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache

from ledlocal.engine.transcript import Transcript
from ledlocal.methods.draws import uniforms
from ledlocal.methods.led import layers_of
from ledlocal.methods.thinking import ThinkingTracker
from ledlocal.runtime.llama import now
from ledlocal.runtime.vocabulary import Vocabulary
from ledlocal.values.events import Candidates, Exploration, Finish, Finished, Lens, Phase, Prefilled, Started, Token
from ledlocal.values.params import Detail, Request, Sampling


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """How a token is drawn. There is one object for equal ones, so that rows are grouped by comparing addresses."""

    sampling: Sampling
    in_scope: bool
    """LED may explore."""
    project_always: bool
    """Its layers are wanted whether it explores or not."""


@lru_cache
def _way(sampling: Sampling, in_scope: bool, project_always: bool) -> Way:
    return Way(sampling, in_scope, project_always)


class Sequence:
    """A prompt, the tokens generated for it, and the state that chooses how the next one is drawn."""

    def __init__(self, request_id: int, sample: int, request: Request, prompt: tuple[int, ...],
                 tracker: ThinkingTracker, vocabulary: Vocabulary, n_layer: int, room: int, *, exact: bool) -> None:
        """`exact`: what the request continues is decoded token by token, as it was when it was drawn.

        A batch of several tokens takes other kernels, and rounds otherwise.
        """
        self.request_id, self.sample, self.request = request_id, sample, request
        self.prompt = prompt + (() if exact else request.continues)
        """What is prefilled."""
        self._replay = deque(request.continues if exact else ())
        """Tokens that are known, and still to be decoded."""
        self._origin = len(prompt)
        self._tracker, self._vocabulary, self._room = tracker, vocabulary, room
        self._transcript = Transcript(request.stop)
        self.detail: Detail = request.detail
        """What is said of the next tokens."""
        self._heard = request.detail != "none" or bool(request.stop)
        """Somebody needs to know the text token by token."""
        self.slot: int | None = None
        self.cached = 0
        """Prompt tokens in the KV cache."""
        self.reused = 0
        self.ids: list[int] = []
        self.finish: Finish | None = None
        self.reason = ""
        self.forced: deque[int] = deque()
        self._thinking_tokens = 0
        self._thinks_no_more = False
        self._prefill_s = 0.0
        self._decode_start: float | None = None
        self._replay_start: float | None = None
        self._explored = self._changed = self._in_scope = 0
        self._depths = [0] * (1 + max(len(layers_of(one.led, n_layer)) for one in (request.thinking, request.answer)))
        self._confidence = 0.0
        self.way = self._find_way()
        """How the next token is drawn."""
        for token in () if exact else request.continues:
            self._take(token)

    @property
    def prefilled(self) -> bool:
        """All of the prompt but its last token is in the KV cache."""
        return self.cached >= len(self.prompt) - 1

    @property
    def next_token(self) -> int:
        """The token to decode next: the last one known."""
        return self.ids[-1] if self.ids else self.prompt[-1]

    @property
    def position(self) -> int:
        """Position of `next_token`, from 0."""
        return self._origin - 1 + len(self.ids)

    @property
    def thinking(self) -> bool:
        """The token to be drawn next is a thought."""
        return self._tracker.phase == "thinking"

    def _find_way(self) -> Way:
        sampling = self.request.thinking if self.thinking else self.request.answer
        in_scope = self.thinking or sampling.led.scope == "all"
        # the first token may be what opens the thinking
        return _way(sampling, in_scope, self.detail == "all" and (in_scope or not self.ids))

    def uniforms(self) -> tuple[float, float]:
        """Coin and token of the next position."""
        return uniforms(self.request.seed, self.request.problem, self.sample, len(self.ids))

    @property
    def replays(self) -> bool:
        """The next token is known already."""
        return bool(self._replay)

    def replay(self) -> Prefilled:
        """Take the next known token."""
        self._take(self._replay.popleft())
        if not self._replay:
            self._keep_budget()
        known = self._origin + len(self.ids)
        return Prefilled(self.request_id, self.sample, known, self._origin + len(self.request.continues))

    def answer_now(self) -> None:
        """No more thinking: it ends at the next token, and so does any that the model begins again."""
        self._thinks_no_more = True
        self.force_answer()

    def watch(self, detail: Detail) -> None:
        """Say this much of the next tokens, unless nobody wanted to hear of any."""
        if "none" not in (self.detail, detail):
            self.detail = detail
            self.way = self._find_way()

    def force_answer(self) -> None:
        """End thinking at the next token."""
        if self.thinking and not self.forced and not self._replay:
            marker = list(self._tracker.force())
            begun = next((n for n in range(len(marker) - 1, 0, -1) if self.ids[-n:] == marker[:n]), 0)
            self.forced.extend(marker[begun:])

    def _keep_budget(self) -> None:
        budget = self.request.reasoning_budget
        if self._thinks_no_more or (budget is not None and self._tracker.count >= budget):
            self.force_answer()

    def prefill(self, tokens: int, seconds: float) -> None:
        """A part of the prompt was decoded."""
        self.cached += tokens
        self._prefill_s += seconds

    def start(self) -> Started | None:
        """The event of the first decode that draws a token; None before and afterwards."""
        if self._decode_start is not None:
            return None
        if self._replay:
            self._replay_start = self._replay_start or now()
            return None
        self._decode_start = now()
        if self._replay_start is not None:
            self._prefill_s += self._decode_start - self._replay_start
        self._keep_budget()
        return Started(self.request_id, self.sample, self.prompt[:self._origin], self.reused, self._prefill_s)

    def accept(self, token: int, *, forced: bool, confidence: float, entropy: float, explored: bool, changed: bool,
               depth: int | None, u: tuple[float, float], candidates: Candidates | None,
               lens: Lens | None = None) -> Token | None:
        """Take a token as the next one; None where nobody wants to know of it."""
        if self.way.in_scope:
            self._in_scope += 1
            self._confidence += confidence
        if explored and depth is not None:
            self._explored += 1
            self._changed += changed
            self._depths[depth] += 1
        text, phase, marker = self._take(token)
        self._keep_budget()
        self._end_if_done(token)
        if self.finish is not None:
            text += self._transcript.close()
        if self.detail == "none":
            return None
        return Token(self.request_id, self.sample, len(self.ids) - 1, token, text, phase, marker, forced,
                     confidence, entropy, explored, changed, depth, u, candidates, lens)

    def _take(self, token: int) -> tuple[str, Phase, bool]:
        """The text that a token completes, its phase, and whether it belongs to a marker."""
        before = self._tracker.phase
        step = self._tracker.push(token)
        opened = step.marker and step.phase == "answer" and self.thinking
        phase: Phase = "thinking" if opened else step.phase
        self._thinking_tokens += step.marker_length if opened else phase == "thinking"
        piece = b"" if self._vocabulary.is_control(token) else self._vocabulary.piece(token)
        pending = self._tracker.pending if self._heard else len(self.ids) + 1
        text = self._transcript.push(piece, phase, step.marker_length, pending)
        self.ids.append(token)
        if self._tracker.phase != before or len(self.ids) == 1:
            self.way = self._find_way()
        return text, phase, step.marker

    def _end_if_done(self, token: int) -> None:
        limit = self.request.max_tokens
        if self._vocabulary.is_end(token) and not self.request.ignore_eos:
            self.finish = "stop"
        elif self._transcript.stopped:
            self.finish, self.reason = "stop", "a stop string matched"
        elif limit is not None and len(self.ids) - len(self.request.continues) >= limit:
            self.finish, self.reason = "length", f"the limit of {limit} tokens was reached"
        elif self._origin + len(self.ids) >= self._room:
            self.finish, self.reason = "length", f"the context of {self._room} tokens is full"

    def end(self, finish: Finish, reason: str) -> None:
        """End from outside. Text held back stays out of the result, as it was in no Token."""
        self.finish, self.reason = finish, reason

    def finished(self) -> Finished:
        """The last event of this sequence."""
        assert self.finish is not None
        self._transcript.release(self._tracker.pending)
        decode_s = now() - self._decode_start if self._decode_start is not None else 0.0
        exploration = Exploration(self._explored, self._changed, tuple(self._depths),
                                  self._confidence / self._in_scope if self._in_scope else None)
        return Finished(
            self.request_id, self.sample, self.finish, self.reason, self._transcript.text("answer"),
            self._transcript.text("thinking"), tuple(self.ids), len(self.request.continues), self._origin,
            self._thinking_tokens,
            len(self.ids) - self._thinking_tokens, self._prefill_s, decode_s, exploration)
