"""Many replies at once from the model that is being trained, with the log-probabilities that its loss asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from demo.document import END_THINK, END_TURN, THINK
from demo.model import Model
from demo.tokenizer import END_OF_TEXT, Tokenizer
from ledlocal.methods import led

ROWS = 256
"""Decoded together."""
_SHRINK = 0.8
"""Finished rows are dropped once no more than this share goes on."""


@dataclass(frozen=True, slots=True)
class Law:
    """What a token is drawn from, thoughts and answers alike but for exploring, which thoughts do only."""

    temperature: float = 1.0
    """0: always the most probable token."""
    top_k: int = 0
    """0: all tokens."""
    layers: int = 1
    """More than one: LED over the last so many, the final one included."""

    def __post_init__(self) -> None:
        """Raises ValueError for LED over all tokens."""
        if self.layers > 1 and not self.top_k:
            raise ValueError("LED needs top_k")

    def draw(self, model: Model, states: Tensor, thinking: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Tokens (rows,) and their log-probabilities (rows,) under the model itself: temperature 1, untruncated."""
        final = model.logits(states[-1]).float()
        if self.temperature == 0:
            tokens = final.argmax(-1)
        elif self.layers > 1:
            tokens = self._explore(model, final, states, thinking, generator)
        else:
            tokens = self._plain(final, generator)
        return tokens, final.log_softmax(-1).gather(1, tokens[:, None])[:, 0]

    def _plain(self, final: Tensor, generator: torch.Generator) -> Tensor:
        probabilities = (final / self.temperature).softmax(-1)
        if not self.top_k:
            return _drawn(probabilities, generator)
        most, ids = probabilities.topk(self.top_k, -1)
        return ids.gather(1, _drawn(most, generator)[:, None])[:, 0]

    def _explore(self, model: Model, final: Tensor, states: Tensor, thinking: Tensor,
                 generator: torch.Generator) -> Tensor:
        """ledlocal's preset `paper`: the final layer and those just below, with the final norm on every layer."""
        earlier = model.logits(states[-self.layers:-1].flip(0)).float()
        layers = (torch.cat((final[None], earlier)) / self.temperature).softmax(-1)
        most, ids = layers[0].topk(self.top_k, -1)
        posteriors = layers.gather(-1, ids.expand(len(layers), -1, -1)).permute(1, 0, 2).cpu().numpy()
        coin = torch.rand(len(final), generator=generator, device=final.device).cpu().numpy().astype(np.float64)
        explored = led.explores(posteriors[:, 0].max(1).astype(np.float64), coin) & thinking.cpu().numpy()
        instead = torch.from_numpy(led.explore(posteriors).distribution).to(most)
        weights = torch.where(torch.from_numpy(explored).to(ids.device)[:, None], instead, most)
        return ids.gather(1, _drawn(weights, generator)[:, None])[:, 0]


PLAIN = Law()


@dataclass(frozen=True, slots=True)
class Rollout:
    """One reply."""

    tokens: list[int]
    log_probabilities: list[float]
    finished: bool
    """It ended its turn, rather than being cut off."""


@torch.no_grad()
def roll_out(model: Model, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], law: Law, longest: int,
             seed: int) -> list[Rollout]:
    """A reply of at most `longest` tokens to each prompt, in their order; the same ones each time."""
    generator = torch.Generator(model.embedding.device).manual_seed(seed)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    replies: dict[int, Rollout] = {}
    for i in range(0, len(order), ROWS):
        some = order[i:i + ROWS]
        said = _together(model, tokenizer, [prompts[j] for j in some], law, longest, generator)
        replies |= zip(some, said, strict=True)
    return [replies[i] for i in range(len(prompts))]


def _together(model: Model, tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], law: Law, longest: int,
              generator: torch.Generator) -> list[Rollout]:
    device = model.embedding.device
    end, think, end_think = (tokenizer.id(special) for special in (END_TURN, THINK, END_THINK))
    rows, width = len(prompts), max(map(len, prompts))
    filled = torch.ones(rows, width + longest, dtype=torch.bool, device=device)
    ids = torch.full((rows, width), tokenizer.id(END_OF_TEXT), device=device)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt):] = torch.tensor(prompt, device=device)
        filled[i, :width - len(prompt)] = False
    cache, live = model.empty_cache(filled), torch.arange(rows, device=device)
    said = torch.full((rows, longest), -1, device=device)
    surprise = torch.zeros(rows, longest, device=device)
    going = torch.ones(rows, dtype=torch.bool, device=device)
    thinking = torch.zeros_like(going)
    for place in range(longest):
        tokens, log_probabilities = law.draw(model, model.step(ids, cache), thinking, generator)
        said[live[going], place], surprise[live[going], place] = tokens[going], log_probabilities[going]
        thinking = (thinking | (tokens == think)) & (tokens != end_think)
        going &= tokens != end
        share = float(going.float().mean())
        if share == 0:
            break
        ids = tokens[:, None]
        if share <= _SHRINK:
            cache, live, ids = cache.keep(going), live[going], ids[going]
            thinking, going = thinking[going], going[going]
    return [_reply(row, logs, end) for row, logs in zip(said.tolist(), surprise.tolist(), strict=True)]


def _reply(row: list[int], logs: list[float], end: int) -> Rollout:
    length = row.index(-1) if -1 in row else len(row)
    return Rollout(row[:length], logs[:length], row[length - 1] == end)


def _drawn(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Index (rows,) by weights (rows, n): torch.multinomial takes far longer for the same."""
    sums = weights.cumsum(-1)
    u = torch.rand(len(weights), 1, generator=generator, device=weights.device) * sums[:, -1:]
    return torch.searchsorted(sums, u, right=True)[:, 0].clamp_max(weights.shape[1] - 1)
