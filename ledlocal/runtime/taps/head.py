"""The model's own output head, cloned from its graph so that other hidden states can be sent through it.

Soft caps, scales, biases, LoRA and tied embeddings come along because nothing is re-implemented: the nodes between a
hidden state and the logits are copied with another input and another number of rows.
"""

from __future__ import annotations

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


class Head:
    """The nodes between hidden states and the logits, as they were when the model's graph was built.

    Read then, because before a graph runs llama.cpp's scheduler lets nodes read from copies on their own device
    (ggml-backend.cpp, ggml_backend_sched_split_graph): an input would no longer be recognized.
    """

    def __init__(self, logits: int, start: int, out_ids: int | None = None) -> None:
        """ggml_tensor pointers; `start` is what new hidden states replace. Raises TapRefused if there are too many.

        `out_ids`: the input that selects the outputs. Their rows are what is put in, so the selection is left out.
        """
        self._logits, self._start = logits, start
        self._nodes: dict[int, ggml.Tensor] = {}
        self._selected: dict[int, int] = {}
        """Nodes that only select outputs, and what they select from."""
        self._read(logits, out_ids)
        self.signature = repr(self._describe(logits))
        """Equal for heads that compute the same with the same weights, whatever graph they were found in.

        A text, because Python keeps its hash: graphs are looked up by it in every step that projects.
        """

    def _read(self, pointer: int, out_ids: int | None) -> None:
        if pointer == self._start or pointer in self._nodes:
            return
        if len(self._nodes) > MAX_NODES:
            raise TapRefused("its output head does not start at the last layer")
        node = self._nodes[pointer] = ggml.Tensor.from_buffer_copy(ggml.tensor(pointer))
        sources = [source for source in node.src if source]
        if selects(pointer, out_ids):
            sources = sources[:1]
            self._selected[pointer] = sources[0]
        for source in sources:
            self._read(source, out_ids)

    def _describe(self, pointer: int) -> tuple[object, ...]:
        if pointer == self._start:
            return ("start",)
        if pointer in self._selected:
            return self._describe(self._selected[pointer])
        node = self._nodes[pointer]
        # leaves and views of leaves are not copied
        return (node.op, tuple(node.op_params), pointer if node.op == ggml.OP_NONE or node.view_src else None,
                *(self._describe(source) for source in node.src if source))

    def clone(self, context: int, graph: int, hidden: int, rows: int) -> int:
        """Nodes in `context` that compute logits (V, rows) from `hidden` (E, rows); some are put into `graph`."""
        copy = self._clone(context, graph, self._logits, hidden, rows, {})
        if copy == self._logits:
            raise TapRefused("its logits do not depend on the last layer in the expected way")
        return copy

    def _clone(self, context: int, graph: int, pointer: int, hidden: int, rows: int, done: dict[int, int]) -> int:
        if pointer == self._start:
            return hidden
        if pointer in self._selected:
            return self._clone(context, graph, self._selected[pointer], hidden, rows, done)
        node = self._nodes[pointer]
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
        if ggml.op_name(node) == b"MUL_MAT" and waits(copies[0]):
            copy = product(context, graph, copies[0], copies[1], node)
        else:
            copy = int(ggml.new_tensor_2d(context, node.type, node.ne[0], rows))
            ggml.imitate(copy, node, copies)
        done[pointer] = copy
        return copy
