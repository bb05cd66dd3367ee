"""The lens as a table for people and as one JSON object."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ledlocal.lens import BINS, KS, SURE, Curves, Observations, Tokens
from ledlocal.result import build_object, engine_object, model_object
from ledlocal.settings import describe
from ledlocal.statistics.interval import Estimate
from ledlocal.values.events import Loaded
from ledlocal.values.params import EngineOptions, Request

WIDTH = 40
"""Columns of the longest bar of the histogram."""
LEGEND = ("entropy: of the layer's distribution over all V tokens at temperature 1",
          "top-k: how often the layer's k most probable have the final layer's favourite",
          "means over tokens, in parentheses 95 % intervals over prompts")


@dataclass(frozen=True, slots=True)
class Report:
    """A run with everything that it takes to repeat it."""

    seen: Observations
    loaded: Loaded
    options: EngineOptions
    sha256: str
    """Of the model's file."""
    which: Tokens
    requests: Sequence[Request]
    """One per prompt; they differ in the prompt alone."""
    finishes: Mapping[str, int]
    """How many replies ended how."""
    took_s: float

    @property
    def temperature(self) -> float:
        """At which p_top1 is taken: 1 where sampling is greedy."""
        return self.requests[0].thinking.temperature or 1.0

    @property
    def kind(self) -> str:
        """The tokens' kind, as a sentence has it."""
        return "tokens" if self.which == "all" else f"{self.which} tokens"

    def lines(self) -> Iterator[str]:
        """The table, in lines of at most 79 columns but for a model's long name."""
        model, seen = self.loaded.model, self.seen
        yield (f"model     {model.name} · {model.architecture} · {model.layers} layers · {model.vocabulary} tokens · "
               f"tap {self.loaded.tap}")
        yield f"sampled   {self._sampling()}"
        yield (f"measured  {seen.tokens} {self.kind} · {seen.prompts} prompts · {sum(self.finishes.values())} replies"
               + (f", {cut} of them cut short" if (cut := self.finishes.get("length")) else ""))
        yield from self._confidence()
        for title, curves in (("with the model's final norm before the output head", seen.normed),
                              ("without the norm", seen.raw)):
            yield ""
            yield title
            yield from _table(curves)
        yield ""
        yield from LEGEND

    def _sampling(self) -> str:
        request = self.requests[0]
        return describe(request.answer, "answer") if self.which == "answer" else describe(request.thinking, "thinking")

    def _confidence(self) -> Iterator[str]:
        seen = self.seen
        yield f"p_top1    mean {_with_interval(seen.confidence)} at temperature {self.temperature:g}"
        yield f"          above {SURE:g}: {_with_interval(seen.sure)} of the tokens"
        most = max(seen.histogram)
        for i, count in enumerate(seen.histogram):
            yield (f"{'':10}{i / BINS:.1f}-{(i + 1) / BINS:.1f} {count / seen.tokens:6.1%} "
                   f"{'▇' * -(-WIDTH * count // most)}").rstrip()

    def to_json(self) -> str:
        """One line of ASCII."""
        return json.dumps(self.to_object(), ensure_ascii=True, allow_nan=False)

    def to_object(self) -> dict[str, Any]:
        """Everything; `layers` numbers the places of every per-layer list."""
        seen, request = self.seen, self.requests[0]
        return {
            "model": model_object(self.loaded, self.sha256),
            "tap": self.loaded.tap,
            "settings": {
                "phase": self.which, "prompts": len(self.requests), "samples": request.n, "seed": request.seed,
                "max_tokens": request.max_tokens, "date": request.date, "thinking": asdict(request.thinking),
                "answer": asdict(request.answer), "streams": [one.problem for one in self.requests],
                "messages": [[asdict(message) for message in one.messages or ()] for one in self.requests],
            },
            "engine": engine_object(self.options),
            "finishes": dict(self.finishes),
            "tokens": seen.tokens,
            "prompts": seen.prompts,
            "layers": list(range(1, self.loaded.model.layers + 1)),
            "with_norm": _curves_object(seen.normed),
            "without_norm": _curves_object(seen.raw),
            "p_top1": {
                "temperature": self.temperature, "mean": _object([seen.confidence], one=True),
                "above": {"limit": SURE, "share": _object([seen.sure], one=True)},
                "edges": [i / BINS for i in range(BINS + 1)], "histogram": list(seen.histogram),
            },
            "timing": {"load_s": self.loaded.load_s, "total_s": self.took_s},
            "build": build_object(),
        }


def _table(curves: Curves) -> Iterator[str]:
    """One line per layer; intervals where they fit."""
    first, *others = KS
    heads = [f"top-{k}" for k in KS]
    yield f"{'layer':>5}  {'entropy / ln V':<19}  {heads[0]:<19}{''.join(f'{head:>8}' for head in heads[1:])}"
    for i, entropy in enumerate(curves.entropy):
        rest = "".join(f"{_number(curves.coverage[k][i].value):>8}" for k in others)
        yield f"{i + 1:>5}  {_with_interval(entropy):<19}  {_with_interval(curves.coverage[first][i]):<19}{rest}"
    for i, count in enumerate(curves.unsound):
        if count:
            yield f"layer {i + 1}: {count} tokens are left out, where its logits are not finite"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _with_interval(one: Estimate) -> str:
    if math.isnan(one.value):
        return "-"
    return f"{one.value:.3f} ({one.low:.3f}-{one.high:.3f})"


def _curves_object(curves: Curves) -> dict[str, Any]:
    return {"entropy": _object(curves.entropy), "unsound": list(curves.unsound),
            "coverage": {str(k): _object(curves.coverage[k]) for k in KS}}


def _object(estimates: Sequence[Estimate], one: bool = False) -> dict[str, Any]:
    """Means and bounds by name, lists of them unless it is `one`; null where there is nothing to average."""
    found = {name: [None if math.isnan(value) else value for value in values] for name, values in (
        ("value", [e.value for e in estimates]), ("low", [e.low for e in estimates]),
        ("high", [e.high for e in estimates]))}
    return {name: values[0] for name, values in found.items()} if one else dict(found)
