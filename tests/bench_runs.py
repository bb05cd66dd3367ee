"""Plans and runs of `ledlocal bench` that no process measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ledlocal.bench.contender import contenders_of
from ledlocal.bench.plan import Plan, Run
from ledlocal.models import DEMO
from ledlocal.values.params import EngineOptions

METHODS_OF = "bare,backend,standard,led,led:coin=0.5,led:eager"


def plan(methods: str = METHODS_OF, **other: Any) -> Plan:
    return replace(Plan(EngineOptions(str(DEMO), threads=1), contenders_of(methods), (1, 2), ("auto",), 2, 3, 8, 0),
                   **other)


def run(contender: str, number: int, seconds: float, phase: Any = "decode", batch: int = 1, **other: Any) -> Run:
    return Run(**{"tap": "auto", "batch": batch, "round": number, "contender": contender, "phase": phase, "tokens": 10,
                  "seconds": seconds, "explored": 0, "chosen": 0} | other)


def vars_of(one: Run) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Run.__dataclass_fields__}
