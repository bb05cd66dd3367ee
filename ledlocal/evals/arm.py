"""What is compared: decoding methods with their settings, and for each LED variant its control.

    standard    led    led:norm=on,d=4    standard:order=paper

LED also truncates (the k most probable tokens), which moves the numbers by itself. Its control is the same truncation
with exploration off, so that a difference between the two is exploration's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from ledlocal.settings import Settings
from ledlocal.values.errors import BadInput
from ledlocal.values.events import Loaded
from ledlocal.values.params import Led, MethodName, Sampling, require_choice

ABLATIONS = {"think-only": "scope=all", "exploit": "exploit=off", "topk": "k=1024", "norm": "norm=on",
             "layers": "layers=paper"}
"""The paper's, each one step away from the authors' code: explore in the answer, too; at every thinking token; without
the restriction to k candidates (as many as are looked at); with the final norm; the last layers without a gap."""
SWEPT = ("d", "k")
_EXPLORING = ("preset", "d", "layers", "norm", "scope", "exploit")


@dataclass(frozen=True, slots=True)
class Arm:
    """A decoding method with all its settings at one temperature."""

    method: str
    """As the user wrote it; with the temperature it names this arm."""
    temperature: float
    control: str = ""
    """The method that differs from this one in exploration alone; empty if there is none in the run."""

    def sampling(self, loaded: Loaded | None) -> tuple[Sampling, Sampling]:
        """Parameters of thinking and answer; `loaded` None: as far as known before. Raises BadInput."""
        settings = self._settings()
        return settings.sampling("thinking", loaded), settings.sampling("answer", loaded)


    def require_used(self) -> None:
        """Raise BadInput for settings that change nothing here: two arms that look different would be the same."""
        if names := self._settings().unused(None):
            raise BadInput(f"method {self.method!r} does not use {', '.join(names)}")

    def notices(self, loaded: Loaded) -> list[str]:
        """Sentences about what this model cannot do as asked."""
        return self._settings().notices(loaded)

    def _settings(self) -> Settings:
        name, given = _parts(self.method)
        settings = Settings(seed=0).with_value("temp", repr(self.temperature)).with_value("method", name)
        for key, value in given.items():
            settings = settings.with_value(key, value)
            if replace(settings, thinking={}, answer={}) != Settings(seed=0):
                raise BadInput(f"method {self.method!r}: {key} is not set here; it holds for the whole run")
        return settings


def arms(methods: Sequence[str], temperatures: Sequence[float], sweeps: Mapping[str, Sequence[str]] | None = None,
         ablations: Sequence[str] = (), control: bool = True) -> tuple[Arm, ...]:
    """Every arm of a run, each once, controls behind what they control. Raises BadInput naming what is wrong."""
    for name in (sweeps or {}):
        require_choice("a sweep", name, ("temp", *SWEPT))
    for name in ablations:
        require_choice("an ablation", name, tuple(ABLATIONS))
    specs = [one for method in methods for one in _swept(method, sweeps or {})]
    specs += [f"led:{ABLATIONS[name]}" for name in ablations]
    found: dict[tuple[str, float], Arm] = {}
    for temperature in temperatures:
        for spec in specs:
            arm = Arm(spec, temperature, _control_of(spec) if control else "")
            arm.sampling(None)  # what is wrong is told before a model is loaded
            arm.require_used()
            found.setdefault((spec, temperature), arm)
            if arm.control:
                found.setdefault((arm.control, temperature), Arm(arm.control, temperature))
    return tuple(found.values())


def _parts(spec: str) -> tuple[str, dict[str, str]]:
    """Method and settings of `led:norm=on,d=4`. Raises BadInput."""
    name, colon, rest = spec.partition(":")
    require_choice("a method", name, get_args(MethodName))
    given: dict[str, str] = {}
    for pair in rest.split(",") if colon else ():
        key, equals, value = pair.partition("=")
        if not (key and equals and value):
            raise BadInput(f"method {spec!r}: settings are NAME=VALUE,NAME=VALUE")
        if key.replace("-", "_") in ("temp", "temperature", "method"):
            raise BadInput(f"method {spec!r}: {key} is not set here; --temp, --sweep temp=... and --methods do that")
        given[key] = value
    return name, given


def _swept(spec: str, sweeps: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A variant of LED at every combination of swept values that it does not set itself."""
    name, given = _parts(spec)
    missing = [key for key in SWEPT if key in sweeps and key not in given]
    if name != "led" or not missing:
        yield spec
        return
    for value in sweeps[missing[0]]:
        yield from _swept(f"{spec}{',' if given else ':'}{missing[0]}={value}", sweeps)


def _control_of(spec: str) -> str:
    """With all settings that are not about exploring: those of one phase alone (answer.temp), too."""
    name, given = _parts(spec)
    if name != "led":
        return ""
    kept = [f"{key}={value}" for key, value in given.items()
            if key.replace("-", "_").rpartition(".")[2] not in _EXPLORING]
    return "control" if kept in ([], [f"k={Led().k}"]) else f"control:{','.join(kept)}"
