"""Group-relative policy optimization with a clipped objective (DeepSeekMath, arXiv 2402.03300, section 4).

The replies to one puzzle are each other's baseline; unlike there, it is one for every try instead of one for the whole
reply, and a try's advantage is what it made of the outlook (`advantages_of`). The ratio is between the model's own
probabilities of a token, now and when the reply was sampled: temperature 1, untruncated, whatever law the reply was
drawn by. There is no penalty for leaving the supervised model; the upper clip is the wider one (DAPO, arXiv 2503.14476,
section 3.1) and the loss is a mean over tokens (section 3.3).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demo import checkpoint, log, sft
from demo.document import question, talk
from demo.judge import Judgement, Outcome, judge
from demo.model import Model
from demo.rollout import PLAIN, Law, Rollout, roll_out
from demo.tokenizer import Tokenizer

_CLIP_LOW, _CLIP_HIGH = 0.2, 0.28
_WARM_UP, _DECAY = 5, 0.25
"""Iterations at the beginning, share of iterations at the end."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one run."""

    iterations: int
    puzzles: int = 32
    remarks: int = 2
    """What is no puzzle, so that its answers are not forgotten."""
    group: int = 16
    """Replies to each."""
    steps: int = 4
    """Of the optimizer for each iteration's replies, which are used once."""
    longest: int = 384
    """Tokens of a reply."""
    rate: float = 1e-3
    fault: float = 1.0
    """Advantage of a try without fault over one with, where their mean square is 1."""
    micro: int = sft.MICRO
    law: Law = PLAIN


@dataclass(frozen=True, slots=True)
class Row:
    """One reply as the loss takes it."""

    ids: list[int]
    prompt: int
    log_probabilities: list[float]
    advantages: list[float]


def train(model: Model, tokenizer: Tokenizer, settings: Settings, seed: int, folder: Path,
          progress: Callable[[int, dict[str, float]], None], stop: Callable[[], bool]) -> bool:
    """Train `model` in place, from the checkpoint in `folder` if one is there. False if `stop` ended it early."""
    path, written, begin, spent = folder / "rl.part.pt", folder / "rl.jsonl", 0, 0.0
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.95), fused=True)
    if path.exists():
        kept, rest = checkpoint.load(path, tokenizer, str(model.embedding.device))
        model.load_state_dict(kept.state_dict())
        optimizer.load_state_dict(rest["optimizer"])
        begin, spent = rest["iteration"], rest["seconds"]
    clock, started = checkpoint.Clock(), time.monotonic() - spent
    log.keep(written, begin)
    for iteration in range(begin, settings.iterations):
        rate = settings.rate * schedule(iteration, settings.iterations)
        measures = iterate(model, tokenizer, optimizer, rate, settings, f"{seed}/rl/{iteration}")
        log.append(written, {"iteration": iteration, **measures, "seconds": round(time.monotonic() - started, 1)})
        progress(iteration + 1, measures)
        if clock.due() or stop():
            checkpoint.save(path, model, tokenizer, optimizer=optimizer.state_dict(), iteration=iteration + 1,
                            seconds=time.monotonic() - started)
            if stop():
                return False
    checkpoint.save(folder / "rl.pt", model, tokenizer)
    path.unlink(missing_ok=True)
    return True


def schedule(iteration: int, iterations: int) -> float:
    """Scale of the learning rate: up, flat, and down to a tenth."""
    return min(1.0, (iteration + 1) / _WARM_UP, 0.1 + 0.9 * (1 - iteration / iterations) / _DECAY)


def iterate(model: Model, tokenizer: Tokenizer, optimizer: torch.optim.Optimizer, rate: float, settings: Settings,
            seed: str) -> dict[str, float]:
    """Sample, judge, and take the optimizer's steps. Returns what the log says of it."""
    rng, began = random.Random(seed), time.monotonic()
    different = [question(rng) for _ in range(settings.puzzles)] + [talk(rng) for _ in range(settings.remarks)]
    asked = [one for one in different for _ in range(settings.group)]
    prompts = [tokenizer.encode(one.prompt) for one in asked]
    replies = roll_out(model, tokenizer, prompts, settings.law, settings.longest, rng.getrandbits(62))
    judgements = [judge(one, reply.tokens, tokenizer) for one, reply in zip(asked, replies, strict=True)]
    sampled = time.monotonic() - began
    rows = [Row(prompt + reply.tokens, len(prompt), reply.log_probabilities, advantages)
            for prompt, reply, advantages in zip(prompts, replies, advantages_of(judgements, settings), strict=True)
            if any(advantages)]
    rng.shuffle(rows)
    clipped = 0.0
    for group in optimizer.param_groups:
        group["lr"] = rate
    for i in range(settings.steps):
        if some := rows[i::settings.steps]:
            clipped += _optimize(model, tokenizer, optimizer, some, settings.micro) / settings.steps
    count = settings.puzzles * settings.group
    talked = sum(one.outcome is Outcome.SOLVED for one in judgements[count:]) / max(1, len(asked) - count)
    return {**_measures(replies[:count], judgements[:count]), "talked": round(talked, 4), "rows": len(rows),
            "clipped": round(clipped, 4), "sampling": round(sampled, 1),
            "training": round(time.monotonic() - began - sampled, 1)}


def advantages_of(judgements: Sequence[Judgement], settings: Settings) -> list[list[float]]:
    """Of every token: what its try made of the outlook, scaled to a mean square of 1, and whether it is at fault.

    The outlook behind so many failed tries is the mean reward of the replies to the same puzzle that got there. A try
    that fails loses little by it however its reply ends, one that solves gains what was missing: a difference of values
    (Sutton 1988) in place of the reply's own end. It is set against the outlook of the other replies alone. A fault is
    set against the share of faults in the group: it tells which try to make, not whether to make another one.
    """
    rows: list[list[float]] = []
    shares: list[float] = []
    for i in range(0, len(judgements), settings.group):
        group = judgements[i:i + settings.group]
        ends = [(one.failed[-1], one.outcome.value) for one in group]
        outlook = outlook_of(ends)
        for j, end in enumerate(ends):
            gains = _gains(end, outlook, outlook_of(ends[:j] + ends[j + 1:]))
            rows.append([gains[at] for at in group[j].failed])
        shares += [sum(one.faults for one in group) / max(1, sum(one.tries for one in group))] * len(group)
    squares = [x * x for row in rows for x in row]
    scale = max(1e-6, math.sqrt(sum(squares) / len(squares)))
    return [[x / scale + (0.0 if fault is None else settings.fault * (share - fault))
             for x, fault in zip(row, one.at_fault, strict=True)]
            for row, one, share in zip(rows, judgements, shares, strict=True)]


def outlook_of(ends: Sequence[tuple[int, float]]) -> list[float]:
    """Behind 0, 1, ... failed tries: the mean reward of replies (failed tries, reward) that got there."""
    outlook = []
    for at in range(max((failed for failed, _ in ends), default=-1) + 1):
        there = [reward for failed, reward in ends if failed >= at]
        outlook.append(sum(there) / len(there))
    return outlook


def _gains(end: tuple[int, float], outlook: Sequence[float], others: Sequence[float]) -> list[float]:
    """Of a reply's tries and its end. Where no other reply got to, the last outlook of others goes on."""
    failed, reward = end
    before = [others[min(at, len(others) - 1)] if others else 0.0 for at in range(failed + 1)]
    after = [*outlook[1:failed + 1], reward]
    return [b - a for a, b in zip(before, after, strict=True)]


def objective(now: Tensor, before: Tensor, advantages: Tensor) -> Tensor:
    """The clipped surrogate of each token: what may still be gained by moving its probability."""
    ratio = (now - before).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - _CLIP_LOW, 1 + _CLIP_HIGH) * advantages)


def _optimize(model: Model, tokenizer: Tokenizer, optimizer: torch.optim.Optimizer, rows: Sequence[Row],
              micro: int) -> float:
    """One step; the share of tokens that the clip leaves without a gradient."""
    device, clipped = model.embedding.device, 0
    ordered = sorted(rows, key=lambda row: len(row.ids))
    total = sum(len(row.advantages) for row in rows)
    for i in range(0, len(ordered), micro):
        some = ordered[i:i + micro]
        batch = sft.batch_of([(row.ids, row.prompt) for row in some], tokenizer)
        learnt, ids = batch.learnt[:, 1:].to(device), batch.ids.to(device)
        logits = model.logits(model(ids[:, :-1])[learnt])
        now = logits.log_softmax(-1).gather(1, ids[:, 1:][learnt][:, None])[:, 0]
        before = torch.tensor([p for row in some for p in row.log_probabilities], device=device)
        advantages = torch.tensor([a for row in some for a in row.advantages], device=device)
        torch.autograd.backward(-objective(now, before, advantages).sum() / total)
        ratio = (now - before).detach().exp()
        beyond = torch.where(advantages > 0, ratio > 1 + _CLIP_HIGH, ratio < 1 - _CLIP_LOW)
        clipped += int((beyond & (advantages != 0)).sum())
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return clipped / total


def _measures(replies: Sequence[Rollout], judgements: Sequence[Judgement]) -> dict[str, float]:
    """Shares of replies and of tries, as the learning curves show them."""
    count, tokens = len(replies), sum(len(reply.tokens) for reply in replies)
    shares: dict[str, Any] = {outcome.name.lower(): sum(one.outcome is outcome for one in judgements) / count
                              for outcome in Outcome}
    tries = max(1, sum(one.tries for one in judgements))
    for name in ("malformed", "wrong_arithmetic", "wrong_verdict", "false_yes", "repeated"):
        shares[name] = sum(getattr(one, name) for one in judgements) / tries
    surprise = -sum(sum(reply.log_probabilities) for reply in replies) / tokens
    return {"reward": round(sum(one.outcome.value for one in judgements) / count, 4),
            **{name: round(share, 4) for name, share in shares.items()}, "surprise": round(surprise, 4),
            "tries": round(tries / count, 2), "tokens": tokens, "length": round(tokens / count, 1)}
