"""llama.cpp alone: llama_decode and its own sampler chains, nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ledlocal.runtime.library import C
from ledlocal.runtime.llama import Context, ContextParams, Model, Row
from ledlocal.values.errors import BadInput


class Bare:
    """A context and one chain (top-k 20, top-p 0.95, temperature 0.6) per sequence.

    `in_graph`: the chains are nodes of the model's graph where the backend can (llama-server's --backend-sampling).
    """

    explored = chosen = 0

    def __init__(self, model: Model, params: ContextParams, in_graph: bool) -> None:
        """Raises BadInput if llama.cpp takes no samplers into the graph of this model."""
        self._context = Context(model, params)
        self._chains = [_chain(seed) for seed in range(params.n_seq_max)]
        if in_graph and not all(C.llama_set_sampler(self._context.handle, i, chain)
                                for i, chain in enumerate(self._chains)):
            self.close()
            raise BadInput("llama.cpp takes no samplers into this model's graph")

    def steps(self, prompt: Sequence[int]) -> Iterator[None]:
        """Endless: each is one more token of every sequence after the prompt, which is read once for all."""
        self._read(prompt)
        batch = range(len(self._chains))
        tokens, position = [prompt[-1]] * len(batch), len(prompt) - 1
        while True:
            self._context.decode([Row(token, position, i, True) for i, token in enumerate(tokens)])
            tokens = [C.llama_sampler_sample(self._chains[i], self._context.handle, i) for i in batch]
            position += 1
            yield

    def _read(self, prompt: Sequence[int]) -> None:
        for i in range(len(self._chains)):
            self._context.forget(i)
        rows = [Row(token, position, 0, False) for position, token in enumerate(prompt[:-1])]
        for start in range(0, len(rows), self._context.n_batch):
            self._context.decode(rows[start:start + self._context.n_batch])
        for i in range(1, len(self._chains)):
            self._context.copy_sequence(0, i)

    def close(self) -> None:
        """Free context and chains."""
        self._context.close()
        for chain in self._chains:
            C.llama_sampler_free(chain)


def _chain(seed: int) -> Any:
    chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
    for sampler in (C.llama_sampler_init_top_k(20), C.llama_sampler_init_top_p(0.95, 1),
                    C.llama_sampler_init_temp(0.6), C.llama_sampler_init_dist(seed)):
        C.llama_sampler_chain_add(chain, sampler)
    return chain
