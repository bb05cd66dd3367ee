"""What is measured, and what comes out of one measurement: values that pass between two processes as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ledlocal.bench.contender import Contender
from ledlocal.values.params import EngineOptions, TapName

QUESTION = ("How many integers from 1 to 1000 are divisible by 7 or by 11, but not by 13? Think about it step by step, "
            "and check the result.")
Phase = Literal["prefill", "decode"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Every contender, at every batch size, with every tap, in every round."""

    options: EngineOptions
    """Of the model; slots, context and tap are set by the measurement."""
    contenders: tuple[Contender, ...]
    batches: tuple[int, ...]
    """Sequences side by side."""
    taps: tuple[TapName, ...]
    rounds: int
    tokens: int
    """Of every sequence in the phase `decode`."""
    prompt: int
    """Tokens of the prompt in the phase `prefill`; 0: it is left out."""
    depth: int
    """Least number of tokens before those of the phase `decode`."""
    question: str = QUESTION
    """What the model thinks about."""
    ids: tuple[int, ...] = ()
    """The prompt of every run, instead of a question (where the vocabulary's memory must not count)."""

    def alone(self, contender: Contender, batch: int) -> Plan:
        """Once, for its memory: one contender, and a prompt that needs no vocabulary."""
        return replace(self, contenders=(contender,), batches=(batch,), taps=self.taps[:1], rounds=1,
                       tokens=min(self.tokens, 8), prompt=0, ids=tuple(range(16)))

    @property
    def runs(self) -> int:
        """Runs of the phase `decode`."""
        return len(self.contenders) * len(self.batches) * len(self.taps) * self.rounds

    def to_json(self) -> str:
        """For `plan_from_json`."""
        return json.dumps(asdict(self))


def plan_from_json(text: str) -> Plan:
    """What `to_json` wrote."""
    fields: dict[str, Any] = json.loads(text)
    options = fields.pop("options")
    if options["think_tags"] is not None:
        options["think_tags"] = tuple(options["think_tags"])
    contenders = tuple(Contender(**one) for one in fields.pop("contenders"))
    return Plan(EngineOptions(**options), contenders, tuple(fields.pop("batches")), tuple(fields.pop("taps")),
                ids=tuple(fields.pop("ids")), **fields)


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement."""

    tap: str
    batch: int
    round: int
    contender: str
    phase: Phase
    tokens: int
    """Prompt tokens in the phase `prefill`, else tokens chosen in all sequences together."""
    seconds: float
    """Until every sequence has its first token in the phase `prefill`."""
    explored: int
    chosen: int
    """Tokens for which a coin was tossed, `explored` of which explored."""
