"""The engine: requests in, typed events out, one decode loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np

from ledlocal.engine.choice import Chooser
from ledlocal.engine.kv_cache import KvCache
from ledlocal.engine.lens import look
from ledlocal.engine.loading import Session
from ledlocal.engine.scheduler import Decode, Prefill, Scheduler
from ledlocal.engine.sequence import Sequence
from ledlocal.methods.final import FinalLayer
from ledlocal.runtime.llama import Row, now
from ledlocal.values.errors import BadInput, PromptTooLong
from ledlocal.values.events import Event, Finish, Finished, Loaded, Notice, Prefilled
from ledlocal.values.params import Detail, EngineOptions, Request

REWIND_NOTICE = "this model's memory cannot be rewound, so a turn that changes the past is read from its beginning"


class Engine:
    """A loaded model that serves many requests at once, from any number of threads: one at a time does a step."""

    def __init__(self, options: EngineOptions) -> None:
        """Load. Raises BadInput (file, flag), OutOfResources, or TapRefused (a tap asked for by name)."""
        self._session = Session(options)
        self.loaded: Loaded = self._session.loaded
        context = self._session.context
        self._tap = self._session.tap
        self._kv = KvCache(context, self._session.cache_bytes // context.n_seq_max)
        self._scheduler = Scheduler(self._kv, context.n_seq_max, options, self._session.model.needs_output)
        self._lens, self._exact = options.lens, options.reproducible
        self._chooser = Chooser(self._tap, self._session.vocabulary, self._session.model.n_layer)
        self._turn = threading.RLock()
        """Whose turn it is to use the library."""
        self._lock = threading.Lock()
        """Of the sets below."""
        self._cancelled: set[int] = set()
        self._cancelled_samples: set[tuple[int, int]] = set()
        """Request and sample."""
        self._in_flight: set[int] = set()
        self._waiting: list[Event] = []
        self._next_id = 0
        self._rewind_said = False

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Free everything; may be repeated."""
        with self._turn:
            self._session.close()

    @property
    def busy(self) -> bool:
        """Some sequence is not finished."""
        return self._scheduler.busy

    @property
    def rows_fetched(self) -> int:
        """Full rows of logits that the list could not stand in for."""
        return self._tap.rows_fetched

    def prompt_ids(self, request: Request) -> tuple[int, ...]:
        """Tokens of a request's prompt. Raises BadInput."""
        with self._turn:
            self._session.check_open()
            return self._session.prompt(request).ids

    def submit(self, request: Request) -> int:
        """Queue a request; its number. Raises BadInput for what this model or context cannot do."""
        with self._turn:
            return self._submit(request)

    def _submit(self, request: Request) -> int:
        self._session.check_open()
        self._session.check_unchanged()
        self._check(request)
        self._next_id += 1
        prompt = self._session.prompt(request)
        room = self._session.room
        length = len(prompt.ids) + len(request.continues)
        if length >= room:
            raise PromptTooLong(f"the prompt is {length} tokens long, and the context holds {room}")
        self._waiting += [Notice(self._next_id, text) for text in prompt.notices]
        for sample in range(request.first_sample, request.first_sample + request.n):
            self._scheduler.queue.append(Sequence(
                self._next_id, sample, request, prompt.ids, prompt.tracker(), self._session.vocabulary,
                self._session.model.n_layer, room, exact=self._exact))
        return self._next_id

    def _check(self, request: Request) -> None:
        self._session.check_continued(request.continues)
        for sampling in (request.thinking, request.answer):
            if sampling.led.d > self._session.depth:
                raise BadInput(f"d is {sampling.led.d}, and the model was loaded for a depth of {self._session.depth}")
            self._session.require_layers(sampling, request.detail == "all")

    def cancel(self, request_id: int, sample: int | None = None) -> None:
        """End a request soon, or one sample of it, from any thread; it finishes as `cancelled`.

        Unknown numbers are ignored.
        """
        if not 0 < request_id <= self._next_id:
            return
        with self._lock:
            if sample is not None:  # others are decoded with it, so what is in flight is not broken off
                self._cancelled_samples.add((request_id, sample))
                return
            self._cancelled.add(request_id)
            if self._in_flight and self._in_flight <= self._cancelled:
                self._session.context.abort.set()

    def answer_now(self, request_id: int) -> None:
        """End a request's thinking at the next token, for good."""
        with self._turn:
            for sequence in [*self._scheduler.running(), *self._scheduler.queue]:
                if sequence.request_id == request_id:
                    sequence.answer_now()

    def watch(self, request_id: int, detail: Detail) -> None:
        """Say more or less of a request's tokens from the next one on; which ones are drawn does not change.

        Raises TapRefused if there are no layers to look at.
        """
        with self._turn:
            for sequence in [*self._scheduler.running(), *self._scheduler.queue]:
                if sequence.request_id == request_id:
                    for sampling in (sequence.request.thinking, sequence.request.answer):
                        self._session.require_layers(sampling, detail == "all")
                    sequence.watch(detail)

    def generate(self, request: Request) -> Iterator[Event]:
        """Submit one request and yield its events up to the last sample's Finished. Closing it early cancels."""
        request_id = self.submit(request)
        left = request.n
        try:
            while left:
                for event in self._step_for(request_id):
                    left -= isinstance(event, Finished)
                    yield event
        finally:
            if left and self._session.model.handle:
                self.cancel(request_id)
                while self._scheduler.holds(request_id):
                    self._step_for(request_id)

    def _step_for(self, request_id: int) -> list[Event]:
        """A step's events of one request; those of others wait for their own readers."""
        with self._turn:
            mine: list[Event] = []
            others: list[Event] = []
            for event in self.step():
                own = not isinstance(event, Loaded) and event.request == request_id
                (mine if own else others).append(event)
            self._waiting += others
            return mine

    def step(self) -> list[Event]:
        """Admit, decode one batch, choose tokens, retire. An empty list if there is nothing to do."""
        with self._turn:
            return self._step()

    def _step(self) -> list[Event]:
        self._session.check_open()
        events, self._waiting = self._waiting, []
        events += self._drop_cancelled()
        self._scheduler.admit()
        events += self._say_rewind()
        plan = self._scheduler.next()
        if isinstance(plan, Prefill):
            events += self._prefill(plan)
        elif isinstance(plan, Decode):
            events += self._decode(plan)
        return events

    def _say_rewind(self) -> list[Event]:
        """Once, with a request that pays for it."""
        first = self._scheduler.first_reread
        if first is None or self._rewind_said:
            return []
        self._rewind_said = True
        return [Notice(first.request_id, REWIND_NOTICE)]

    def _drop_cancelled(self) -> list[Event]:
        with self._lock:
            cancelled, samples = set(self._cancelled), set(self._cancelled_samples)
        events: list[Event] = []
        if not cancelled and not samples:
            return events
        for sequence in [*self._scheduler.running(), *self._scheduler.queue]:
            if sequence.request_id in cancelled or (sequence.request_id, sequence.sample) in samples:
                events.append(self._end(sequence, "cancelled", ""))
        with self._lock:
            self._cancelled -= cancelled
            self._cancelled_samples -= samples
        return events

    def _end(self, sequence: Sequence, finish: Finish, reason: str) -> Finished:
        if sequence.finish is None:
            sequence.end(finish, reason)
        self._scheduler.leave(sequence)
        return sequence.finished()

    def _run(self, rows: list[Row], sequences: list[Sequence]) -> bool:
        """One llama_decode; False if everyone in it was cancelled meanwhile."""
        context = self._session.context
        with self._lock:
            wanted = {sequence.request_id for sequence in sequences}
            if wanted <= self._cancelled:
                return False
            self._in_flight = wanted
            context.abort.clear()
        done = context.decode(rows)
        with self._lock:
            self._in_flight = set()
            context.abort.clear()  # what is computed of these rows next is not to be stopped by a cancel that came late
        if not done and (self._session.model.recurrent or self._session.model.hybrid):
            for row in rows:
                self._kv.clear(row.sequence)
        return done

    def _prefill(self, plan: Prefill) -> list[Event]:
        start, sequence = now(), plan.sequence
        if not self._run(plan.rows, [sequence]):
            return []
        self._kv.extend(plan.rows)
        sequence.prefill(len(plan.rows), now() - start)
        if sequence.prefilled:
            return []
        return [Prefilled(sequence.request_id, sequence.sample, sequence.cached, len(sequence.prompt))]

    def _decode(self, plan: Decode) -> list[Event]:
        sequences = plan.sequences
        events: list[Event] = [started for one in sequences.values()
                               if one.decode_start is None and (started := one.start())]
        self._tap.prepare(np.array([sequences[row].way.inv_temp if row in sequences else 1.0
                                    for row in range(len(plan.rows))]))
        if not self._run(plan.rows, list(sequences.values())):
            return events
        self._kv.extend(plan.rows[row] for row in sequences)
        return events + self._advance(self._tap.topk(), sequences)

    def _advance(self, final: FinalLayer, sequences: dict[int, Sequence]) -> list[Event]:
        """Give every sequence its next token, and retire those that end."""
        replaying = [sequence for sequence in sequences.values() if sequence.known]
        events: list[Event] = [sequence.replay() for sequence in replaying]
        if replaying:
            sequences = {row: sequence for row, sequence in sequences.items() if sequence not in replaying}
        if not sequences:
            return events
        sound = np.isfinite(final.logsumexp) & np.isfinite(final.entropy)
        live = sequences if sound.all() else {row: one for row, one in sequences.items() if sound[row]}
        chosen = self._chooser.choose(final, live)
        lenses = look(self._tap, list(live), self._session.model.n_layer) if self._lens else {}
        for row, sequence in sequences.items():
            one = chosen.get(row)
            if one is None:
                where = f"the model's logits are not finite at position {sequence.position}"
                if sequence.slot is not None:
                    self._kv.clear(sequence.slot)  # its keys and values may not be finite either
                events.append(self._end(sequence, "invalid", where))
                continue
            event = sequence.accept(one, lenses.get(row))
            if event is not None:
                events.append(event)
            if sequence.finish is not None:
                events.append(self._end(sequence, sequence.finish, sequence.reason))
        return events
