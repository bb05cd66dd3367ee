"""The model's own output head, cloned from its graph so that other hidden states can be sent through it.

Soft caps, scales, biases, LoRA and tied embeddings come along because nothing is re-implemented: the nodes between a
hidden state and the logits are copied with another input and another number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledlocal.runtime import ggml
from ledlocal.values.errors import TapRefused

MAX_NODES = 32
"""More nodes than any known head has: the walk has missed its start."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where the head begins and ends in the model's graph (ggml_tensor pointers)."""

    logits: int
    starts: frozenset[int]
    """Any of these nodes is replaced by the new hidden states."""

    def signature(self) -> tuple[object, ...]:
        """Equal for heads that compute the same with the same weights, whatever graph they were found in."""
        found: list[object] = []
        self._describe(self.logits, found)
        return tuple(found)

    def _describe(self, pointer: int, found: list[object]) -> None:
        if pointer in self.starts:
            found.append("start")
            return
        node = ggml.tensor(pointer)
        found.append((node.op, tuple(node.op_params), pointer if node.op == ggml.OP_NONE else None))
        if len(found) > MAX_NODES:
            raise TapRefused("its output head does not start at the last layer")
        for source in node.src:
            if source:
                self._describe(source, found)

    def clone(self, context: int, hidden: int, rows: int) -> int:
        """Nodes in `context` that compute logits (V, rows) from `hidden` (E, rows)."""
        copy = self._clone(context, self.logits, hidden, rows, {})
        if copy == self.logits:
            raise TapRefused("its logits do not depend on the last layer in the expected way")
        return copy

    def _clone(self, context: int, pointer: int, hidden: int, rows: int, done: dict[int, int]) -> int:
        if pointer in self.starts:
            return hidden
        node = ggml.tensor(pointer)
        if pointer in done:
            return done[pointer]
        if node.op == ggml.OP_NONE and not node.flags & ggml.FLAG_INPUT:
            return pointer
        sources = [source or 0 for source in node.src]
        copies = [self._clone(context, source, hidden, rows, done) if source else 0 for source in sources]
        if copies == sources:
            if not node.view_src:  # computed for this decode: overwritten by the time the copy would read it
                raise TapRefused("its output head uses more than the last layer and weights")
            done[pointer] = pointer
            return pointer
        if node.view_src or node.ne[2] != 1 or node.ne[3] != 1:
            raise TapRefused("its output head writes into parts of the logits or keeps several streams")
        copy = ggml.new_tensor_2d(context, node.type, node.ne[0], rows)
        twin = ggml.tensor(copy)
        twin.op = node.op
        twin.op_params[:] = node.op_params[:]
        for i, source in enumerate(copies):
            twin.src[i] = source or None
        done[pointer] = copy
        return int(copy)
