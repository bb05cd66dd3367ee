"""Who decodes in the next step: one prompt chunk, or one token of every running sequence."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ledlocal.engine.kv_cache import KvCache
from ledlocal.engine.sequence import Sequence
from ledlocal.runtime.llama import Row
from ledlocal.values.params import EngineOptions

DUMMY_TOKEN = 0
"""Fed to a slot without a sequence; its result is not read."""


@dataclass(frozen=True, slots=True)
class Prefill:
    """Part of a prompt, alone in its batch and without outputs."""

    sequence: Sequence
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Decode:
    """One token per slot, every one an output."""

    rows: list[Row]
    sequences: dict[int, Sequence]
    """By row; the others are dummies."""


class Scheduler:
    """Slots and a queue.

    A prompt is prefilled up to, not including, its last token: that one is decoded with the others, so every output of
    the model comes from a batch of single tokens. Slot numbers in a batch are consecutive, because llama.cpp puts only
    consecutive sequences of a split cache into one ubatch (src/llama-batch.cpp, split_equal): holes get a dummy.
    """

    def __init__(self, kv: KvCache, slots: int, options: EngineOptions, needs_output: bool = False) -> None:
        """`slots` of the cache, of which at most `options.slots` are used at a time.

        `needs_output`: this model cannot run a batch without outputs.
        """
        self._needs_output = needs_output
        self._kv, self._capacity = kv, options.slots
        self._chunk, self._exact = options.batch, options.reproducible
        self.slots: list[Sequence | None] = [None] * slots
        self.queue: deque[Sequence] = deque()
        self.first_reread: Sequence | None = None
        """The first sequence that lost the reuse of a slot because this kind of memory cannot be cut."""

    @property
    def busy(self) -> bool:
        """Something is queued or running."""
        return bool(self.queue) or any(self.slots)

    def holds(self, request_id: int) -> bool:
        """Some sequence of this request is queued or running."""
        return any(sequence.request_id == request_id for sequence in [*self.queue, *self.running()])

    def running(self) -> list[Sequence]:
        """Sequences that hold a slot."""
        return [sequence for sequence in self.slots if sequence is not None]

    def admit(self) -> None:
        """Give free slots to queued sequences; samples of one prompt wait for its first prefill if sharing pays."""
        while self.queue and len(self.running()) < self._capacity:
            sequence = self.queue[0]
            pays = self._kv.sharing_pays(sequence.prompt)
            siblings = [other for other in self.running() if other.prompt == sequence.prompt]
            if pays and any(not other.prefilled for other in siblings):
                return
            self.queue.popleft()
            slot = self._free_slot(sequence)
            self.slots[slot] = sequence
            sequence.slot = slot
            donor = next((other.slot for other in siblings if other.slot is not None), None) if pays else None
            if donor is not None and self._kv.share(donor, slot, sequence.prompt):
                sequence.cached = sequence.reused = len(sequence.prompt) - 1
            elif self._exact:
                self._kv.clear(slot)
            else:
                sequence.cached = sequence.reused = self._kv.reuse(slot, sequence.prompt)
                if self._kv.rewind_refused and self.first_reread is None:
                    self.first_reread = sequence

    def _free_slot(self, sequence: Sequence) -> int:
        """The free slot that already holds most of the prompt, the lowest on a tie."""
        free = [i for i, other in enumerate(self.slots) if other is None]
        return max(free, key=lambda i: (self._kv.common(i, sequence.prompt), -i))

    def leave(self, sequence: Sequence) -> None:
        """A sequence ended or was cancelled, in the queue or in its slot."""
        if sequence.slot is None:
            self.queue.remove(sequence)
        else:
            self.slots[sequence.slot] = None

    def next(self) -> Prefill | Decode | None:
        """The next batch; prompts go first."""
        used = []
        for slot, sequence in enumerate(self.slots):
            if sequence is not None:
                if not sequence.prefilled:
                    return self._prefill(sequence)
                used.append(slot)
        return self._decode(used[0], used[-1]) if used else None

    def _prefill(self, sequence: Sequence) -> Prefill:
        assert sequence.slot is not None
        start, end = sequence.cached, len(sequence.prompt) - 1
        size = min(self._chunk, end - start)
        # a last chunk of one token would take another kernel than the rest of the prompt
        if end - start - size == 1:
            size -= 1
        rows = [Row(sequence.prompt[i], i, sequence.slot, self._needs_output and i == start + size - 1)
                for i in range(start, start + size)]
        return Prefill(sequence, rows)

    def _decode(self, low: int, high: int) -> Decode:
        """A row for each slot from `low` to `high`, both of which are used."""
        if self._exact and low == high:
            # a single output row takes another kernel than several
            low, high = (low, high + 1) if high + 1 < len(self.slots) else (low - 1, high)
        rows, sequences = [], {}
        for row, slot in enumerate(range(low, high + 1)):
            sequence = self.slots[slot]
            if sequence is None:
                self._kv.clear(slot)
                rows.append(Row(DUMMY_TOKEN, 0, slot, True))
            else:
                rows.append(sequence.row(slot))
                sequences[row] = sequence
        return Decode(rows, sequences)
