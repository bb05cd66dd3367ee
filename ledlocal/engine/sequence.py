"""Everything about one sample of one request."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from math import inf

from ledlocal.engine.transcript import Transcript
from ledlocal.methods.draws import Name
from ledlocal.methods.led import layers_of
from ledlocal.methods.method import METHODS
from ledlocal.methods.thinking import ThinkingTracker
from ledlocal.runtime.llama import Row, now
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
    inv_temp: float
    """1 / temperature at which the final layer's statistics are needed."""


@lru_cache
def _way(sampling: Sampling, in_scope: bool, project_always: bool) -> Way:
    return Way(sampling, in_scope, project_always, METHODS[sampling.method].inv_temp(sampling))


Chosen = tuple[int, float, float, bool, bool, int | None, tuple[float, float], Candidates | None]
"""How a token was drawn: its id, confidence, entropy, explored, changed, depth, u and candidates, as in Token."""


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
        self.known = deque(request.continues if exact else ())
        """Tokens that are known, and still to be decoded."""
        self._origin = len(prompt)
        self._tracker, self._vocabulary = tracker, vocabulary
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
        self._forced: deque[int] = deque()
        """Tokens that take the place of those drawn next."""
        self._thinking_tokens = 0
        self._budget: float = inf if request.reasoning_budget is None else request.reasoning_budget
        """Thinking tokens after which the answer is forced."""
        self._limit = inf if request.max_tokens is None else request.max_tokens + len(request.continues)
        """Length of `ids` at which the request ends."""
        self._room = room - len(prompt)
        """Length at which the context is full."""
        self._prefill_s = 0.0
        self.decode_start: float | None = None
        """When its first token was to be drawn; None before."""
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
    def position(self) -> int:
        """Position of the token to decode next, from 0."""
        return self._origin - 1 + len(self.ids)

    def row(self, slot: int) -> Row:
        """The row of a batch that decodes the last token known."""
        return Row(self.ids[-1] if self.ids else self.prompt[-1], self.position, slot, True)

    @property
    def thinking(self) -> bool:
        """The token to be drawn next is a thought."""
        return self._tracker.phase == "thinking"

    def _find_way(self) -> Way:
        sampling = self.request.thinking if self.thinking else self.request.answer
        in_scope = self.thinking or sampling.led.scope == "all"
        # the first token may be what opens the thinking
        return _way(sampling, in_scope, self.detail == "all" and (in_scope or not self.ids))

    def name(self) -> Name:
        """Of the next position's random numbers."""
        return self.request.seed, self.request.problem, self.sample, len(self.ids)

    def replay(self) -> Prefilled:
        """Take the next known token."""
        self._take(self.known.popleft())
        if not self.known:
            self._keep_budget()
        known = self._origin + len(self.ids)
        return Prefilled(self.request_id, self.sample, known, self._origin + len(self.request.continues))

    def answer_now(self) -> None:
        """No more thinking: it ends at the next token, and so does any that the model begins again."""
        self._budget = 0
        self.force_answer()

    def watch(self, detail: Detail) -> None:
        """Say this much of the next tokens, unless nobody wanted to hear of any."""
        if "none" not in (self.detail, detail):
            self.detail = detail
            self.way = self._find_way()

    def force_answer(self) -> None:
        """End thinking at the next token."""
        if self.thinking and not self._forced and not self.known:
            marker = list(self._tracker.force())
            begun = next((n for n in range(len(marker) - 1, 0, -1) if self.ids[-n:] == marker[:n]), 0)
            self._forced.extend(marker[begun:])

    def _keep_budget(self) -> None:
        if self._tracker.count >= self._budget:
            self.force_answer()

    def prefill(self, tokens: int, seconds: float) -> None:
        """A part of the prompt was decoded."""
        self.cached += tokens
        self._prefill_s += seconds

    def start(self) -> Started | None:
        """The event of the first decode that draws a token; None before."""
        if self.known:
            self._replay_start = self._replay_start or now()
            return None
        self.decode_start = now()
        if self._replay_start is not None:
            self._prefill_s += self.decode_start - self._replay_start
        self._keep_budget()
        return Started(self.request_id, self.sample, self.prompt[:self._origin], self.reused, self._prefill_s)

    def accept(self, chosen: Chosen, lens: Lens | None = None) -> Token | None:
        """Take a token as the next one, or the one that is forced; None where nobody wants to know of it."""
        token, confidence, entropy, explored, changed, depth, u, candidates = chosen
        forced = bool(self._forced)
        if forced:
            token, explored, changed = self._forced.popleft(), False, False
        if self.way.in_scope:
            self._in_scope += 1
            self._confidence += confidence
        if explored and depth is not None:
            self._explored += 1
            self._changed += changed
            self._depths[depth] += 1
        text, phase, marker, ends = self._take(token)
        self._keep_budget()
        self._end_if_done(ends)
        if self.finish is not None:
            text += self._transcript.close()
        if self.detail == "none":
            return None
        return Token(self.request_id, self.sample, len(self.ids) - 1, token, text, phase, marker, forced,
                     confidence, entropy, explored, changed, depth, u, candidates, lens)

    def _take(self, token: int) -> tuple[str, Phase, bool, bool]:
        """The text that a token completes, its phase, whether it belongs to a marker, whether it ends generation."""
        tracker, ids = self._tracker, self.ids
        step = tracker.push(token)
        phase, marker_length = step.phase, step.marker_length
        if marker_length and phase == "answer" and tracker.phase == "thinking":
            phase = "thinking"
            self._thinking_tokens += marker_length
        else:
            self._thinking_tokens += phase == "thinking"
        piece, ends = self._vocabulary.spoken(token)
        ids.append(token)
        text = self._transcript.push(piece, phase, marker_length, tracker.pending if self._heard else len(ids))
        if marker_length or len(ids) == 1:
            self.way = self._find_way()
        return text, phase, marker_length > 0, ends

    def _end_if_done(self, ends: bool) -> None:
        length = len(self.ids)
        if ends and not self.request.ignore_eos:
            self.finish = "stop"
        elif self._transcript.stopped:
            self.finish, self.reason = "stop", "a stop string matched"
        elif length >= self._limit:
            self.finish, self.reason = "length", f"the limit of {self.request.max_tokens} tokens was reached"
        elif length >= self._room:
            self.finish, self.reason = "length", f"the context of {self._origin + self._room} tokens is full"

    def end(self, finish: Finish, reason: str) -> None:
        """End from outside. Text held back stays out of the result, as it was in no Token."""
        self.finish, self.reason = finish, reason

    def finished(self) -> Finished:
        """The last event of this sequence."""
        assert self.finish is not None
        self._transcript.release(self._tracker.pending)
        decode_s = now() - self.decode_start if self.decode_start is not None else 0.0
        exploration = Exploration(self._explored, self._changed, tuple(self._depths),
                                  self._confidence / self._in_scope if self._in_scope else None)
        return Finished(
            self.request_id, self.sample, self.finish, self.reason, self._transcript.text("answer"),
            self._transcript.text("thinking"), tuple(self.ids), len(self.request.continues), self._origin,
            self._thinking_tokens,
            len(self.ids) - self._thinking_tokens, self._prefill_s, decode_s, exploration)
