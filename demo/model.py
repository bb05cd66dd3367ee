"""Qwen3's architecture in PyTorch, as small as one likes; llama.cpp reads it as `qwen3` (src/models/qwen3.cpp)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model."""

    vocabulary: int
    layers: int = 12
    width: int = 96
    heads: int = 3
    kv_heads: int = 1
    head: int = 32
    hidden: int = 256
    context: int = 1024
    theta: float = 10_000.0
    epsilon: float = 1e-6


@dataclass(slots=True)
class Cache:
    """Keys and values of rows that are decoded together, and which of their places hold a token."""

    keys: Tensor
    """(layers, rows, kv heads, places, head)"""
    values: Tensor
    filled: Tensor
    """(rows, places) bool: prompts are padded on the left."""
    length: int = 0

    def keep(self, rows: Tensor) -> Cache:
        """These rows only."""
        return Cache(self.keys[:, rows], self.values[:, rows], self.filled[rows], self.length)


class Model(nn.Module):
    """Weights of all layers are stacked, so that one optimizer step handles each kind of matrix at once."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        layers, width, hidden = shape.layers, shape.width, shape.hidden
        queries, keys = shape.heads * shape.head, shape.kv_heads * shape.head
        small = 1 / math.sqrt(2 * layers)
        self.embedding = nn.Parameter(torch.randn(shape.vocabulary, width) * 0.5)
        self.query = _matrices(layers, queries, width)
        self.key = _matrices(layers, keys, width)
        self.value = _matrices(layers, keys, width)
        self.output = _matrices(layers, width, queries, small)
        self.gate = _matrices(layers, hidden, width)
        self.up = _matrices(layers, hidden, width)
        self.down = _matrices(layers, width, hidden, small)
        self.attention_norm = nn.Parameter(torch.ones(layers, width))
        self.feed_forward_norm = nn.Parameter(torch.ones(layers, width))
        self.query_norm = nn.Parameter(torch.ones(layers, shape.head))
        self.key_norm = nn.Parameter(torch.ones(layers, shape.head))
        self.final_norm = nn.Parameter(torch.ones(width))
        self.head = nn.Parameter(torch.randn(shape.vocabulary, width) * 0.02)
        angles = torch.outer(torch.arange(shape.context).float(),
                             shape.theta ** -(torch.arange(0, shape.head, 2).float() / shape.head))
        angles = torch.cat((angles, angles), -1)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    @property
    def matrices(self) -> list[nn.Parameter]:
        """(layers, out, in) each."""
        return [self.query, self.key, self.value, self.output, self.gate, self.up, self.down]

    def forward(self, ids: Tensor) -> Tensor:
        """The residual stream after the last layer, (rows, tokens, width), of rows padded on the right.

        `ids` (rows, tokens); what follows a row's end may be anything.
        """
        places = ids.shape[1]
        return self._layers(ids, (self.cosine[:places], self.sine[:places]), None, None)[-1]

    def residual_stream(self, ids: Tensor) -> Tensor:
        """The same after every layer: (layers, rows, tokens, width)."""
        places = ids.shape[1]
        return torch.stack(self._layers(ids, (self.cosine[:places], self.sine[:places]), None, None))

    def step(self, ids: Tensor, cache: Cache) -> Tensor:
        """(layers, rows, width) after the last of the new tokens `ids` (rows, tokens), which `cache` takes up."""
        begin, end = cache.length, cache.length + ids.shape[1]
        turn = self.cosine[begin:end], self.sine[begin:end]
        mask = cache.filled[:, None, None, :end].expand(-1, 1, end - begin, -1)
        if end - begin > 1:
            causal = torch.ones(end - begin, end, dtype=torch.bool, device=ids.device).tril(begin)
            itself = torch.eye(end - begin, end, dtype=torch.bool, device=ids.device).roll(begin, 1)
            mask = mask & causal | itself  # what is padded looks at itself: no row of a softmax is empty
        states = self._layers(ids, turn, cache, mask)
        cache.length = end
        return torch.stack([state[:, -1] for state in states])

    def logits(self, residual: Tensor) -> Tensor:
        """Of any layer's residual stream: final norm and head, in single precision whatever the layers have."""
        with torch.autocast(self.head.device.type, enabled=False):
            normed = F.rms_norm(residual.float(), (self.shape.width,), self.final_norm, self.shape.epsilon)
            return F.linear(normed, self.head)

    def empty_cache(self, filled: Tensor) -> Cache:
        """For rows that hold a token where `filled` (rows, places) says so."""
        rows, places = filled.shape
        size = (self.shape.layers, rows, self.shape.kv_heads, places, self.shape.head)
        return Cache(torch.zeros(size, device=filled.device), torch.zeros(size, device=filled.device), filled)

    def _layers(self, ids: Tensor, turn: tuple[Tensor, Tensor], cache: Cache | None,
                mask: Tensor | None) -> list[Tensor]:
        weights = zip(*(weight.unbind(0) for weight in (
            *self.matrices, self.attention_norm, self.feed_forward_norm, self.query_norm, self.key_norm)), strict=True)
        x, states = F.embedding(ids, self.embedding), []
        for i, own in enumerate(weights):
            keys_values = None if cache is None else (cache.keys[i], cache.values[i], cache.length)
            x = _layer(self.shape, x, own, turn, keys_values, mask)
            states.append(x)
        return states


def _layer(shape: Shape, x: Tensor, weights: tuple[Tensor, ...], turn: tuple[Tensor, Tensor],
           cached: tuple[Tensor, Tensor, int] | None, mask: Tensor | None) -> Tensor:
    """One block: attention and a gated feed-forward, each normed before and added after."""
    query, key, value, output, gate, up, down, norm, later_norm, query_norm, key_norm = weights
    width, size, epsilon = (shape.width,), shape.head, shape.epsilon
    y = F.rms_norm(x, width, norm, epsilon)
    q = _turned(F.rms_norm(_heads(F.linear(y, query), size), (size,), query_norm, epsilon), turn)
    k = _turned(F.rms_norm(_heads(F.linear(y, key), size), (size,), key_norm, epsilon), turn)
    v = _heads(F.linear(y, value), size)
    if cached is not None:
        keys, values, begin = cached
        end = begin + x.shape[1]
        keys[:, :, begin:end], values[:, :, begin:end] = k, v
        k, v = keys[:, :, :end], values[:, :, :end]
    x = x + F.linear(_attention(q, k, v, mask), output)
    y = F.rms_norm(x, width, later_norm, epsilon)
    return x + F.linear(F.silu(F.linear(y, gate)) * F.linear(y, up), down)


def _heads(x: Tensor, size: int) -> Tensor:
    """(rows, heads, tokens, size)"""
    return x.view(x.shape[0], x.shape[1], -1, size).transpose(1, 2)


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """(rows, tokens, heads * size)"""
    rows, heads, tokens, _ = q.shape
    if tokens == 1 and k.shape[1] == 1:  # heads that share keys are so many queries: far faster on a CPU
        return F.scaled_dot_product_attention(q.transpose(1, 2), k, v, attn_mask=mask).reshape(rows, 1, -1)
    shared = heads != k.shape[1]
    result = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=shared)
    return result.transpose(1, 2).reshape(rows, tokens, -1)


def _matrices(layers: int, rows: int, columns: int, scale: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.randn(layers, rows, columns) * scale / math.sqrt(columns))


def _turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions, the halves of a head against each other (GGML_ROPE_TYPE_NEOX)."""
    cosine, sine = turn
    half = x.shape[-1] // 2
    return x * cosine + torch.cat((-x[..., half:], x[..., :half]), -1) * sine
