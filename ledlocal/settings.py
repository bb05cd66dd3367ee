"""What the user chose: from flags and `/set`, completed by the model's file and the defaults."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ledlocal.values.errors import BadInput
from ledlocal.values.events import Loaded, Phase
from ledlocal.values.params import PRESETS, Detail, Led, Message, Reasoning, Request, Sampling, require_choice

Value = str | int | float | bool
PHASES: tuple[Phase, ...] = ("thinking", "answer")
_SWITCH = {"1": "on", "0": "off", "true": "on", "false": "off"}


def _switch(text: str) -> bool:
    word = _SWITCH.get(text, text)
    require_choice("a switch", word, ("on", "off"))
    return word == "on"


_SAMPLING: dict[str, tuple[str, Callable[[str], Value]]] = {
    "method": ("method", str), "temp": ("temperature", float), "top_k": ("top_k", int), "top_p": ("top_p", float),
    "min_p": ("min_p", float), "order": ("order", str),
}
_LED: dict[str, tuple[str, Callable[[str], Value]]] = {
    "preset": ("preset", str), "d": ("d", int), "k": ("k", int), "layers": ("layers", str), "norm": ("norm", _switch),
    "scope": ("scope", str), "exploit": ("exploit", _switch),
}
"""Name for the user -> field, and how it is read."""

_ALIASES = {"temperature": "temp", "n": "max_tokens", "predict": "max_tokens", "reasoning_budget": "budget"}
_PHASE_NAMES: dict[str, tuple[Phase, ...]] = {
    "": PHASES, "think": ("thinking",), "thinking": ("thinking",), "answer": ("answer",),
}
NAMES = (*_SAMPLING, *_LED, "seed", "max_tokens", "budget", "reasoning")


def _number(kind: Callable[[str], Value], name: str, text: str) -> Value:
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise BadInput(f"{name} takes {what}, not {text!r}") from None


def random_seed() -> int:
    """A seed that is short enough to type."""
    return secrets.randbelow(2**32)


@dataclass(frozen=True, slots=True)
class Settings:
    """Chosen values; what is absent comes from the file and the defaults. Every change is a new object."""

    thinking: Mapping[str, Value] = field(default_factory=dict)
    answer: Mapping[str, Value] = field(default_factory=dict)
    """Fields of Sampling and Led, and `preset`."""
    seed: int = field(default_factory=random_seed)
    max_tokens: int | None = None
    budget: int | None = None
    reasoning: Reasoning = "auto"
    stop: tuple[str, ...] = ()
    detail: Detail = "forks"

    def with_value(self, name: str, text: str) -> Settings:
        """One value changed: for both phases, or for one if the name starts with `think.` or `answer.`.

        Raises BadInput for an unknown name or a value that is not of its kind; `request` checks ranges.
        """
        prefix, _, bare = name.replace("-", "_").rpartition(".")
        bare = _ALIASES.get(bare, bare)
        if prefix not in _PHASE_NAMES or bare not in NAMES or (prefix and bare not in _SAMPLING | _LED):
            raise BadInput(f"no setting {name!r}; there are {', '.join(NAMES)}, and think.NAME, answer.NAME")
        if bare in _SAMPLING or bare in _LED:
            key, kind = (_SAMPLING | _LED)[bare]
            value = _number(kind, name, text)
            if bare == "preset":
                require_choice("preset", text, tuple(PRESETS))
            changes: dict[str, Any] = {p: _changed(getattr(self, p), key, value) for p in _PHASE_NAMES[prefix]}
        elif bare == "reasoning":
            changes = {"reasoning": text}
        else:
            number = _number(int, name, text)
            if int(number) < -1:
                raise BadInput(f"{name} takes a number from 0, or -1 ({'random' if bare == 'seed' else 'no limit'}), "
                               f"not {text}")
            changes = {bare: number if number != -1 else random_seed() if bare == "seed" else None}  # llama.cpp's -1
        return replace(self, **changes)

    def sampling(self, phase: Phase, loaded: Loaded | None) -> Sampling:
        """All parameters of a phase: defaults, then the file's `general.sampling.*`, then what was chosen.

        The method is `led`, or `standard` where no tap runs and the user named none; d is no more than the model has
        layers for. Raises BadInput. `loaded` None: as far as known before loading.
        """
        chosen: dict[str, Any] = dict(self.thinking if phase == "thinking" else self.answer)
        preset = PRESETS[chosen.pop("preset", "reference")]
        led_fields = {key for key, _ in _LED.values()}
        led = replace(preset, **{k: v for k, v in chosen.items() if k in led_fields})
        if loaded:
            led = replace(led, d=min(led.d, _most_layers(led, loaded)))
        fields: dict[str, Any] = dict(loaded.model.sampling) if loaded else {}
        if "top_k" in fields:
            fields["top_k"] = int(fields["top_k"])
        if loaded and loaded.tap == "none":
            fields["method"] = "standard"
        return Sampling(led=led, **fields | {k: v for k, v in chosen.items() if k not in led_fields})

    def request(self, loaded: Loaded | None, messages: tuple[Message, ...] = (), turn: int = 0,
                attempt: int = 0) -> Request:
        """The request of a turn. Each turn and each attempt at it draws its own random numbers.

        Raises BadInput; `request(None)` checks everything that can be checked before loading.
        """
        return Request(
            messages=messages, thinking=self.sampling("thinking", loaded), answer=self.sampling("answer", loaded),
            seed=self.seed, problem=str(turn) if turn else "", first_sample=attempt, max_tokens=self.max_tokens,
            reasoning_budget=self.budget, reasoning=self.reasoning, stop=self.stop, detail=self.detail)

    def notices(self, loaded: Loaded) -> list[str]:
        """Sentences about what is not as chosen: values that no phase they were chosen for looks at, or cut ones."""
        sampling = {phase: self.sampling(phase, loaded) for phase in PHASES}
        names = self.unused(loaded)
        methods = dict.fromkeys(sampling[phase].method for phase in PHASES)
        said = [f"without effect: method {' and '.join(methods)} does not use {', '.join(names)}"] if names else []
        if loaded.tap == "none" and "method" not in self.thinking:
            said.append("no tap runs, so no layer is read: method standard in place of led")
        for phase, chosen in zip(PHASES, (self.thinking, self.answer), strict=True):
            asked_for, led = chosen.get("d", 0), sampling[phase].led
            if sampling[phase].method == "led" and int(asked_for) > led.d:
                said.append(f"d {asked_for} is more than this model has layers for: it is {led.d}")
        return list(dict.fromkeys(said))

    def unused(self, loaded: Loaded | None) -> list[str]:
        """Names of chosen values that the method does not look at, in any phase they were chosen for."""
        chosen = {"thinking": self.thinking, "answer": self.answer}
        return [name for name, (key, _) in (_SAMPLING | _LED).items()
                if (asked := [phase for phase in PHASES if key in chosen[phase]])
                and not any(name in _used(self.sampling(phase, loaded)) for phase in asked)]

    def deepest(self) -> int:
        """Largest exploration depth that was asked for, or the default's."""
        return max(Led().d, *(int(chosen.get("d", 0)) for chosen in (self.thinking, self.answer)))

    def value(self, name: str) -> Value | None:
        """The value in effect before the model's file has its say; None: no such setting, or no limit."""
        prefix, _, bare = name.rpartition(".")
        if bare in _SAMPLING or bare in _LED:
            key, _ = (_SAMPLING | _LED)[bare]
            sampling = self.sampling(_PHASE_NAMES[prefix][0], None)
            found: Value | None = getattr(sampling if bare in _SAMPLING else sampling.led, key, None)
            return found
        return {"max_tokens": self.max_tokens, "budget": self.budget, "reasoning": self.reasoning}.get(bare)

    def describe(self, loaded: Loaded | None) -> list[str]:
        """One line per phase with every effective parameter, and one with the limits."""
        limits = [f"seed {self.seed}", f"tokens {self.max_tokens or 'up to the context'}",
                  f"thinking budget {'none' if self.budget is None else self.budget}", f"reasoning {self.reasoning}"]
        return [f"thinking  {describe(self.sampling('thinking', loaded), 'thinking')}",
                f"answer    {describe(self.sampling('answer', loaded), 'answer')}",
                f"limits    {' · '.join(limits)}"]


def _changed(chosen: Mapping[str, Value], key: str, value: Value) -> dict[str, Value]:
    """A preset also takes back the fields that it sets."""
    kept = {k: v for k, v in chosen.items() if key != "preset" or k not in ("layers", "norm")}
    return kept | {key: value}


def _used(sampling: Sampling) -> tuple[str, ...]:
    """Names of the settings that a method looks at."""
    if sampling.method == "standard":
        return tuple(_SAMPLING)
    return "method", "temp", *(("k",) if sampling.method == "control" else _LED)


def _most_layers(led: Led, loaded: Loaded) -> int:
    """The largest depth that a model has layers for: 1 ... L-2 or L-1, and the final one; 2 is the least there is."""
    return max(2, loaded.model.layers - (led.layers == "reference"))


def describe(sampling: Sampling, phase: Phase) -> str:
    """The parameters that decide in this phase."""
    led, temp = sampling.led, f"temp {sampling.temperature:g}"
    if sampling.method == "standard":
        return (f"standard · {temp} · top-k {sampling.top_k} · top-p {sampling.top_p:g} · min-p {sampling.min_p:g}"
                f" · order {sampling.order}")
    if sampling.method == "control" or (phase == "answer" and led.scope == "thinking"):
        return f"{sampling.method} · {temp} · k {led.k} · explores nothing"
    always = "" if led.exploit else " · at every token"
    return f"led · {temp} · k {led.k} · d {led.d} · layers {led.layers} · norm {'on' if led.norm else 'off'}{always}"
