"""The model's own output head, cloned from its graph so that other hidden states can be sent through it.

Soft caps, scales, biases, LoRA and tied embeddings come along because nothing is re-implemented: the nodes between a
hidden state and the logits are copied with another input and another number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledlocal.runtime import ggml
from ledlocal.runtime.taps.product import product, waits
from ledlocal.values.errors import TapRefused

MAX_NODES = 32
"""More nodes than any known head has: the walk has missed its start."""


def selects(pointer: int, out_ids: int | None) -> bool:
    """Whether a node is the rows of the outputs."""
    return ggml.op(pointer) == b"GET_ROWS" and ggml.tensor(pointer).src[1] == out_ids


def norm_input(normed: int, out_ids: int | None) -> int:
    """What the final norm reads: some models name it otherwise than other layers, or select outputs behind the norm."""
    pointer: int | None = normed
    while pointer and (ggml.op(pointer) in (b"MUL", b"ADD") or selects(pointer, out_ids)):
        pointer = ggml.tensor(pointer).src[0]
    if not pointer or ggml.op(pointer) not in (b"NORM", b"RMS_NORM"):
        raise TapRefused("its graph has no final norm")
    return int(ggml.tensor(pointer).src[0])


def head_input(logits: int) -> int:
    """What the output matrix is multiplied with."""
    pointer: int | None = logits
    while pointer and ggml.op(pointer) != b"MUL_MAT":
        pointer = ggml.tensor(pointer).src[0]
    if not pointer:
        raise TapRefused("its graph has no output matrix")
    return int(ggml.tensor(pointer).src[1])


@dataclass(frozen=True, slots=True)
class Head:
    """Where the head begins and ends in the model's graph (ggml_tensor pointers)."""

    logits: int
    start: int
    """This node is replaced by the new hidden states."""
    out_ids: int | None = None
    """The input that selects the outputs: their rows are what is put in, so the selection is left out."""

    def signature(self) -> tuple[object, ...]:
        """Equal for heads that compute the same with the same weights, whatever graph they were found in."""
        found: list[object] = []
        self._describe(self.logits, found)
        return tuple(found)

    def _describe(self, pointer: int, found: list[object]) -> None:
        if pointer == self.start:
            found.append("start")
            return
        node = ggml.tensor(pointer)
        if selects(pointer, self.out_ids):
            self._describe(node.src[0], found)
            return
        found.append((node.op, tuple(node.op_params), pointer if node.op == ggml.OP_NONE else None))
        if len(found) > MAX_NODES:
            raise TapRefused("its output head does not start at the last layer")
        for source in node.src:
            if source:
                self._describe(source, found)

    def clone(self, context: int, graph: int, hidden: int, rows: int) -> int:
        """Nodes in `context` that compute logits (V, rows) from `hidden` (E, rows); some are put into `graph`."""
        copy = self._clone(context, graph, self.logits, hidden, rows, {})
        if copy == self.logits:
            raise TapRefused("its logits do not depend on the last layer in the expected way")
        return copy

    def _clone(self, context: int, graph: int, pointer: int, hidden: int, rows: int, done: dict[int, int]) -> int:
        if pointer == self.start:
            return hidden
        node = ggml.tensor(pointer)
        if selects(pointer, self.out_ids):
            return self._clone(context, graph, node.src[0], hidden, rows, done)
        if pointer in done:
            return done[pointer]
        if node.op == ggml.OP_NONE and not node.flags & ggml.FLAG_INPUT:
            return pointer
        sources = [source or 0 for source in node.src]
        copies = [self._clone(context, graph, source, hidden, rows, done) if source else 0 for source in sources]
        if copies == sources:
            if not node.view_src:  # computed for this decode: overwritten by the time the copy would read it
                raise TapRefused("its output head uses more than the last layer and weights")
            done[pointer] = pointer
            return pointer
        if node.view_src or node.ne[2] != 1 or node.ne[3] != 1:
            raise TapRefused("its output head writes into parts of the logits or keeps several streams")
        if ggml.op(pointer) == b"MUL_MAT" and waits(copies[0]):
            copy = product(context, graph, copies[0], copies[1], node)
        else:
            copy = int(ggml.new_tensor_2d(context, node.type, node.ne[0], rows))
            ggml.imitate(copy, node, copies)
        done[pointer] = copy
        return copy
