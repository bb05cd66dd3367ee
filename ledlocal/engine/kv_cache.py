"""What each slot of the KV cache holds, and when it can be used again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledlocal.runtime.llama import Context, Row

SHARE_FLOPS_PER_BYTE = 10
"""Prompt arithmetic that costs as much as copying one byte of cache; about 9 on two CPU cores (90 GFLOP/s, 10 GB/s)."""


class KvCache:
    """Tokens in the memory of each slot, kept in step with llama.cpp's.

    Reuse is only claimed where removal succeeds and, for sliding windows, the window before the cut is still there:
    `llama_memory_seq_rm` can return true on a sliding-window cache whose cells are gone, and recurrent memory refuses
    to remove a part.
    """

    def __init__(self, context: Context, stream_bytes: int) -> None:
        """`stream_bytes`: what one sequence's cells take."""
        self._context = context
        self._stream_bytes = stream_bytes
        self.tokens: list[list[int]] = [[] for _ in range(context.n_seq_max)]
        self.rewind_refused = False
        """Some reuse was lost because this kind of memory cannot be cut."""

    def common(self, slot: int, prompt: Sequence[int]) -> int:
        """Length of the common prefix of a slot and all but the last token of a prompt."""
        held = self.tokens[slot]
        limit = min(len(held), len(prompt) - 1)
        return next((i for i in range(limit) if held[i] != prompt[i]), limit)

    def reuse(self, slot: int, prompt: Sequence[int]) -> int:
        """Cut a slot down to what a prompt can use; the number of its tokens that stay."""
        keep = self.common(slot, prompt)
        if not keep:  # a dummy row may have left a cell that `tokens` does not know
            self.clear(slot)
        elif keep < len(self.tokens[slot]) and not self._cut(slot, keep):
            self.rewind_refused = True
            self.clear(slot)
        return len(self.tokens[slot])

    def share(self, donor: int, slot: int, prompt: Sequence[int]) -> bool:
        """Copy a donor that holds the prompt but its last token; False (and an empty slot) if it cannot be cut."""
        wanted = len(prompt) - 1
        self.clear(slot)
        self._context.copy_sequence(donor, slot)
        self.tokens[slot] = list(self.tokens[donor])
        if len(self.tokens[slot]) > wanted and not self._cut(slot, wanted):
            self.clear(slot)
            return False
        return True

    def sharing_pays(self, prompt: Sequence[int]) -> bool:
        """Copying is cheaper than a second prefill. A unified cache copies nothing, a split one its whole stream."""
        flops = 2 * self._context.model.n_params * len(prompt)
        return self._context.unified or self._stream_bytes * SHARE_FLOPS_PER_BYTE < flops

    def extend(self, rows: Iterable[Row]) -> None:
        """Rows were decoded."""
        held = self.tokens
        for token, _, slot, _ in rows:
            held[slot].append(token)

    def clear(self, slot: int) -> None:
        """Forget a slot."""
        self._context.forget(slot)
        self.tokens[slot] = []

    def _cut(self, slot: int, keep: int) -> bool:
        window = self._context.model.n_swa
        if keep and self._context.first_position(slot) > max(0, keep - window):
            return False
        if not self._context.forget(slot, keep):
            return False
        del self.tokens[slot][keep:]
        return True
