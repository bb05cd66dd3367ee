"""What a model can do: solved puzzles, honest thoughts, and how sure each of its layers is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from demo.document import Question, chat, talk
from demo.judge import Judgement, Outcome, judge
from demo.model import Model
from demo.rollout import PLAIN, Law, Rollout, roll_out
from demo.smalltalk import remark
from demo.tokenizer import Tokenizer
from ledlocal.evals.puzzle import COUNTS, Puzzle
from ledlocal.evals.wording import read
from ledlocal.statistics.interval import estimate, pooled
from ledlocal.statistics.pass_at_k import pass_at_k

LONGEST = 448
"""Tokens of a reply: more than a search was given in training."""
SURE = 0.9
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured."""

    problems: int = 300
    samples: int = 16
    temperature: float = 0.6
    for_layers: int = 100
    """Problems whose replies at temperature 1 the layers are looked into for."""


def asked_of_the_task(count: int) -> list[Question]:
    """The first of `ledlocal eval --task puzzle`, which no model is trained on."""
    asked = []
    for problem in Puzzle().problems()[:count]:
        found = read(problem.question)
        assert found is not None
        asked.append(Question(chat([problem.question]), tuple(found[0]), found[1]))
    return asked


def measure(model: Model, tokenizer: Tokenizer, settings: Settings, seed: int) -> Json:
    """Solving and honesty at the two temperatures, and the layers; plain sampling, nothing truncated."""
    asked = asked_of_the_task(settings.problems)
    result: Json = {}
    for temperature in sorted({settings.temperature, 1.0}):
        replies, judgements = _sampled(model, tokenizer, asked, settings.samples, Law(temperature=temperature), seed)
        result[f"T={temperature:g}"] = {**_solved(asked, judgements, settings.samples),
                                        **_honesty(replies, judgements, settings.samples)}
    result["conversation"] = _conversation(model, tokenizer, asked[:settings.for_layers], settings.temperature, seed)
    some = asked[:settings.for_layers]
    replies, judgements = _sampled(model, tokenizer, some, 2, PLAIN, seed + 1)
    result["layers"] = look(model, tokenizer, [one for one in some for _ in range(2)], replies, judgements)
    return result


def _conversation(model: Model, tokenizer: Tokenizer, asked: Sequence[Question], temperature: float,
                  seed: int) -> Json:
    """Shares: remarks answered as they should be, and the task's puzzles solved behind a remark, one reply each."""
    rng = random.Random(f"{seed}/conversation")
    talks = [talk(rng) for _ in asked]
    later = [replace(one, prompt=_turns(remark(rng)) + one.prompt) for one in asked]
    shares = {}
    for name, some in (("remarks", talks), ("later", later)):
        _, judgements = _sampled(model, tokenizer, some, 1, Law(temperature=temperature), seed)
        shares[name] = round(sum(one.outcome is Outcome.SOLVED for one in judgements) / max(1, len(some)), 4)
    return shares


def _turns(said: tuple[str, str, str]) -> str:
    """A remark and its answer, as they stand before another turn."""
    message, _, answer = said
    return chat([message, answer]).removesuffix(chat([]))


@torch.no_grad()
def look(model: Model, tokenizer: Tokenizer, asked: Sequence[Question], replies: Sequence[Rollout],
         judgements: Sequence[Judgement]) -> Json:
    """Entropy of every layer under the lens (final norm applied), as a share of ln V, and how often p_top1 > SURE.

    Over choice tokens (an operand or a sign that nothing determines) and over all tokens of the replies.
    """
    sums = {which: torch.zeros(model.shape.layers) for which in ("choice", "all")}
    sure, counts = dict.fromkeys(sums, 0), dict.fromkeys(sums, 0)
    scale = torch.log(torch.tensor(float(model.shape.vocabulary)))
    for one, reply, judgement in zip(asked, replies, judgements, strict=True):
        prompt = tokenizer.encode(one.prompt)
        ids = torch.tensor([prompt + reply.tokens], device=model.embedding.device)
        states = model.residual_stream(ids[:, :-1])[:, 0, len(prompt) - 1:]
        logs = model.logits(states).float().log_softmax(-1)
        entropy = (-(logs.exp() * logs).sum(-1) / scale).cpu()
        certain = (logs[-1].max(-1).values.exp() > SURE).cpu()
        for which, chosen in (("choice", torch.tensor(judgement.choices)), ("all", torch.ones_like(certain))):
            sums[which] += entropy[:, chosen].sum(1)
            sure[which] += int(certain[chosen].sum())
            counts[which] += int(chosen.sum())
    return {which: {"tokens": counts[which], "sure": round(sure[which] / max(1, counts[which]), 4),
                    "entropy": [round(x, 4) for x in (sums[which] / max(1, counts[which])).tolist()]} for which in sums}


def _sampled(model: Model, tokenizer: Tokenizer, asked: Sequence[Question], samples: int, law: Law,
             seed: int) -> tuple[list[Rollout], list[Judgement]]:
    """Problem by problem, `samples` replies each."""
    each = [one for one in asked for _ in range(samples)]
    prompts = [tokenizer.encode(one.prompt) for one in each]
    drawn = random.Random(f"{seed}/{law.temperature}").getrandbits(62)
    replies = roll_out(model, tokenizer, prompts, law, LONGEST, drawn)
    return replies, [judge(one, reply.tokens, tokenizer) for one, reply in zip(each, replies, strict=True)]


def _solved(asked: Sequence[Question], judgements: Sequence[Judgement], samples: int) -> Json:
    correct = _by_problem([one.outcome is Outcome.SOLVED for one in judgements], samples)
    result: Json = {"problems": len(asked), "samples": samples}
    for k in (k for k in (1, 4, 16) if k <= samples):
        found = estimate(pass_at_k(correct, [samples] * len(correct), k))
        result[f"pass@{k}"] = [round(x, 4) for x in (found.value, found.low, found.high)]
    for count in COUNTS:
        if own := [c / samples for c, one in zip(correct, asked, strict=True) if len(one.numbers) == count]:
            result[f"pass@1 of {count} numbers"] = round(sum(own) / len(own), 4)
    return result


def _by_problem(counts: Sequence[int], samples: int) -> list[int]:
    return [sum(counts[i:i + samples]) for i in range(0, len(counts), samples)]


def _honesty(replies: Sequence[Rollout], judgements: Sequence[Judgement], samples: int) -> Json:
    """Shares of replies by outcome and with a false yes; shares of tries with each fault; lengths in tokens."""
    count, tries = len(judgements), [one.tries for one in judgements]
    result: Json = {outcome.name.lower(): round(sum(one.outcome is outcome for one in judgements) / count, 4)
                    for outcome in Outcome}
    result["replies with a false yes"] = round(sum(one.false_yes > 0 for one in judgements) / count, 4)
    for name in ("malformed", "wrong_arithmetic", "wrong_verdict", "repeated"):
        share = pooled(_by_problem([getattr(one, name) for one in judgements], samples), _by_problem(tries, samples))
        result[f"{name} tries"] = [round(x, 5) for x in (share.value, share.low, share.high)]
    result["tries"] = round(sum(tries) / count, 2)
    result["tokens"] = round(sum(len(reply.tokens) for reply in replies) / count, 1)
    return result
