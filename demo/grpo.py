"""Group-relative policy optimization with a clipped objective (DeepSeekMath, arXiv 2402.03300, section 4).

The advantage is one of tries, not of whole replies (`advantages_of`). The ratio is between the model's own
probabilities of a token, now and when the reply was sampled: temperature 1, untruncated, whatever law the reply was
drawn by. There is no penalty for leaving the supervised model; the upper clip is the wider one (DAPO, arXiv 2503.14476,
section 3.1) and the loss is a mean over tokens (section 3.3).
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demo import checkpoint, sft
from demo.document import question, small_talk
from demo.judge import Judgement, Outcome, judge
from demo.model import Model
from demo.rollout import PLAIN, Law, Rollout, roll_out
from demo.tokenizer import Tokenizer

_CLIP_LOW, _CLIP_HIGH = 0.2, 0.28
_WARM_UP, _DECAY = 5, 0.25
"""Iterations at the beginning, share of iterations at the end."""
_SMALL_TALK, _SMALL_TALK_WEIGHT = 8, 0.05
"""Documents beside each optimizer step, so that what is no puzzle is not forgotten."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Of one run."""

    iterations: int
    puzzles: int = 32
    group: int = 16
    """Replies to each puzzle."""
    steps: int = 4
    """Of the optimizer for each iteration's replies, which are used once."""
    longest: int = 384
    """Tokens of a reply."""
    rate: float = 1e-3
    fault: float = 0.2
    """What a try at fault costs, where a solution is worth 1."""
    discount: float = 0.95
    """Of what comes behind a try that failed: the best one first."""
    micro: int = sft.MICRO
    law: Law = PLAIN
    minutes: float = 0.0
    """The longest that the run may take, 0: as long as it takes."""


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
    path, begin, spent = folder / "rl.part.pt", 0, 0.0
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.95), fused=True)
    if path.exists():
        kept, rest = checkpoint.load(path, str(model.embedding.device))
        model.load_state_dict(kept.state_dict())
        optimizer.load_state_dict(rest["optimizer"])
        begin, spent = rest["iteration"], rest["seconds"]
    clock, started = checkpoint.Clock(), time.monotonic() - spent
    with (folder / "rl.jsonl").open("a") as log:
        for iteration in range(begin, settings.iterations):
            seconds = time.monotonic() - started
            if 0 < settings.minutes * 60 < seconds:
                break
            rate = settings.rate * schedule(iteration, settings, seconds)
            measures = iterate(model, tokenizer, optimizer, rate, settings, f"{seed}/rl/{iteration}")
            measures["seconds"] = round(time.monotonic() - started, 1)
            log.write(json.dumps({"iteration": iteration, **measures}) + "\n")
            log.flush()
            progress(iteration + 1, measures)
            if clock.due() or stop():
                checkpoint.save(path, model, optimizer=optimizer.state_dict(), iteration=iteration + 1,
                                seconds=time.monotonic() - started)
                if stop():
                    return False
    checkpoint.save(folder / "rl.pt", model)
    path.unlink(missing_ok=True)
    return True


def schedule(iteration: int, settings: Settings, seconds: float) -> float:
    """Scale of the learning rate: up, flat, down to a tenth, by iterations or by the clock, whichever is further."""
    done = max(iteration / settings.iterations, seconds / (60 * settings.minutes) if settings.minutes else 0.0)
    return min(1.0, (iteration + 1) / _WARM_UP, 0.1 + 0.9 * (1 - done) / _DECAY)


def iterate(model: Model, tokenizer: Tokenizer, optimizer: torch.optim.Optimizer, rate: float, settings: Settings,
            seed: str) -> dict[str, float]:
    """Sample, judge, and take the optimizer's steps. Returns what the log says of it."""
    rng, began = random.Random(seed), time.monotonic()
    asked = [one for _ in range(settings.puzzles) for one in [question(rng)] * settings.group]
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
            clipped += _optimize(model, tokenizer, optimizer, some, settings.micro, rng) / settings.steps
    return {**_measures(replies, judgements), "rows": len(rows), "clipped": round(clipped, 4),
            "sampling": round(sampled, 1), "training": round(time.monotonic() - began - sampled, 1)}


def advantages_of(judgements: Sequence[Judgement], settings: Settings) -> list[list[float]]:
    """Of every token: what its try made of the outlook, scaled to a mean square of 1 over all tokens.

    The outlook behind so many failed tries is the mean return of the replies to the same puzzle that got there: GRPO's
    baseline, but for every try instead of one for the whole reply. A try that fails loses little by it however the
    reply ends; one that solves gains what was missing.
    """
    rows: list[list[float]] = []
    for i in range(0, len(judgements), settings.group):
        group = judgements[i:i + settings.group]
        outlook = outlook_of([returns_of(one, settings) for one in group])
        rows += [_gains(one, outlook, settings) for one in group]
    squares = [x * x for row in rows for x in row]
    scale = max(1e-6, math.sqrt(sum(squares) / len(squares)))
    return [[x / scale for x in row] for row in rows]


def returns_of(one: Judgement, settings: Settings) -> list[float]:
    """Behind 0, 1, ... failed tries: the reward that is still to come, discounted, less what faults cost."""
    returns = [one.outcome.value - settings.fault * one.faults[-1]]
    for faults in reversed(one.faults[:-1]):
        returns.append(settings.discount * returns[-1] - settings.fault * faults)
    return returns[::-1]


def outlook_of(returns: Sequence[Sequence[float]]) -> list[float]:
    """Behind 0, 1, ... failed tries: the mean of those that got there."""
    outlook = []
    for at in range(max(map(len, returns))):
        there = [row[at] for row in returns if at < len(row)]
        outlook.append(sum(there) / len(there))
    return outlook


def _gains(one: Judgement, outlook: Sequence[float], settings: Settings) -> list[float]:
    """Of every token."""
    gains = [settings.discount * after - settings.fault * faults - before
             for before, after, faults in zip(outlook, outlook[1:], one.faults[:-1], strict=False)]
    gains.append(returns_of(one, settings)[-1] - outlook[len(one.faults) - 1])
    return [gains[at] for at in one.failed]


def objective(now: Tensor, before: Tensor, advantages: Tensor) -> Tensor:
    """The clipped surrogate of each token: what may still be gained by moving its probability."""
    ratio = (now - before).exp()
    return torch.minimum(ratio * advantages, ratio.clamp(1 - _CLIP_LOW, 1 + _CLIP_HIGH) * advantages)


def _optimize(model: Model, tokenizer: Tokenizer, optimizer: torch.optim.Optimizer, rows: Sequence[Row], micro: int,
              rng: random.Random) -> float:
    """One step; the share of tokens outside of the clip."""
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
        clipped += int((((now - before).exp() - 1).abs() > _CLIP_LOW).sum())
    talk = sft.batch_of([sft.encoded(tokenizer, small_talk(rng)) for _ in range(_SMALL_TALK)], tokenizer)
    loss = sft.loss_of(model, talk.ids.to(device), talk.learnt.to(device)) / int(talk.learnt.sum())
    torch.autograd.backward(_SMALL_TALK_WEIGHT * loss)
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


