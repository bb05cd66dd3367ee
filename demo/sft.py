"""Supervised training on written searches: cross-entropy of the replies, nothing else."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from demo import checkpoint, log
from demo.document import Document, document
from demo.model import Model
from demo.optimizer import Optimizer
from demo.tokenizer import END_OF_TEXT, Tokenizer

MICRO = 8
"""Rows of a forward pass: small enough that activations stay in the cache of a CPU."""
_WARM_UP, _DECAY = 50, 0.5
"""Steps at the beginning, share of steps at the end."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how wide."""

    steps: int
    rows: int = 48
    micro: int = MICRO


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one forward pass, padded on the right."""

    ids: Tensor
    """(rows, tokens)"""
    learnt: Tensor
    """(rows, tokens) bool: which tokens the loss asks for."""


def train(model: Model, tokenizer: Tokenizer, settings: Settings, seed: int, folder: Path,
          progress: Callable[[int, float], None], stop: Callable[[], bool]) -> bool:
    """Train `model` in place, from the checkpoint in `folder` if one is there. False if `stop` ended it early."""
    path, written, optimizer, begin, spent = folder / "sft.part.pt", folder / "sft.jsonl", Optimizer(model), 0, 0.0
    if path.exists():
        kept, rest = checkpoint.load(path, tokenizer, str(model.embedding.device))
        model.load_state_dict(kept.state_dict())
        optimizer.load(rest["optimizer"])
        begin, spent = rest["step"], rest["seconds"]
    clock, started = checkpoint.Clock(), time.monotonic() - spent
    device = model.embedding.device
    log.keep(written, begin)
    for step in range(begin, settings.steps):
        loss, tokens = 0.0, 0
        batches = list(micro_batches(tokenizer, settings, random.Random(f"{seed}/sft/{step}")))
        total = sum(int(batch.learnt.sum()) for batch in batches)
        for batch in batches:
            part = loss_of(model, batch.ids.to(device), batch.learnt.to(device)) / total
            torch.autograd.backward(part)
            loss, tokens = loss + part.item(), tokens + batch.ids.numel()
        optimizer.step(schedule(step, settings.steps))
        log.append(written, {"step": step, "loss": round(loss, 4), "tokens": tokens,
                             "seconds": round(time.monotonic() - started, 1)})
        progress(step + 1, loss)
        if clock.due() or stop():
            checkpoint.save(path, model, tokenizer, optimizer=optimizer.state(), step=step + 1,
                            seconds=time.monotonic() - started)
            if stop():
                return False
    checkpoint.save(folder / "sft.pt", model, tokenizer)
    path.unlink(missing_ok=True)
    return True


def schedule(step: int, steps: int) -> float:
    """Scale of the learning rates: up, flat, and down to nearly nothing."""
    return min(1.0, (step + 1) / _WARM_UP, (1 - step / steps) / _DECAY + 0.01)


def micro_batches(tokenizer: Tokenizer, settings: Settings, rng: random.Random) -> Iterator[Batch]:
    """The rows of one step, short ones together: all lengths are in every step, since short thoughts end in "yes"."""
    rows = sorted((encoded(tokenizer, document(rng)) for _ in range(settings.rows)), key=lambda row: len(row[0]))
    for i in range(0, len(rows), settings.micro):
        yield batch_of(rows[i:i + settings.micro], tokenizer)


def batch_of(rows: Sequence[tuple[list[int], int]], tokenizer: Tokenizer) -> Batch:
    """Rows of (ids, how many of them are the prompt's)."""
    longest = max(len(ids) for ids, _ in rows)
    padded = torch.full((len(rows), longest), tokenizer.id(END_OF_TEXT))
    learnt = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, (ids, prompt) in enumerate(rows):
        padded[i, :len(ids)] = torch.tensor(ids)
        learnt[i, prompt:len(ids)] = True
    return Batch(padded, learnt)


def encoded(tokenizer: Tokenizer, one: Document) -> tuple[list[int], int]:
    """(ids, how many of them are the prompt's)"""
    prompt = tokenizer.encode(one.prompt)
    return prompt + tokenizer.encode(one.reply), len(prompt)


def loss_of(model: Model, ids: Tensor, learnt: Tensor) -> Tensor:
    """Summed cross-entropy of the learnt tokens."""
    logits = model.logits(model(ids[:, :-1]))
    each = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (each * learnt[:, 1:].flatten()).sum()
