"""What a run is to do, written into its folder before the first token: nothing is chosen after seeing results."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ledlocal.evals.arm import Arm
from ledlocal.evals.task import Problem
from ledlocal.text_file import read_text
from ledlocal.values.errors import BadInput
from ledlocal.values.params import Reasoning, require_choice, require_number

GRADINGS = ("answer", "paper")
FROZEN_DATE = "2026-01-01T00:00:00"
"""What chat templates that print a date are told, so that prompts are the same on every day."""
_HEADER = "# What `ledlocal eval` was asked to do here, written before the first token. The same command resumes.\n"


@dataclass(frozen=True, slots=True)
class Shard:
    """Every `of`-th problem, from the `number`-th (1 ... of) on."""

    number: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        require_number("a shard's total", self.of, 1, 10**6)
        require_number("a shard's number", self.number, 1, self.of)


@dataclass(frozen=True, slots=True)
class Primary:
    """A comparison that a run is made for: an LED variant minus its control."""

    task: str
    temperature: float
    method: str
    against: str
    measure: str
    """pass@1, or pass@n."""


def primary_of(tasks: Sequence[str], arms: Sequence[Arm], samples: int) -> tuple[Primary, ...]:
    """Of every arm that has a control, pass@1 and pass@n."""
    return tuple(Primary(task, arm.temperature, arm.method, arm.control, f"pass@{k}")
                 for task in tasks for arm in arms if arm.control for k in dict.fromkeys((1, samples)))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides what is sampled and how it is judged."""

    tasks: tuple[str, ...]
    arms: tuple[Arm, ...]
    samples: int
    limit: int | None = None
    """Problems of each task, the first ones. None: all."""
    seed: int = 0
    max_tokens: int | None = None
    reasoning: Reasoning = "auto"
    reasoning_budget: int | None = None
    grading: str = "answer"
    """`answer`: what stands behind the thinking; `paper`: the whole completion, as the authors' script takes it."""
    shard: Shard = Shard()
    primary: tuple[Primary, ...] = ()
    """Chosen before the first token; every other comparison is secondary."""

    def __post_init__(self) -> None:
        require_number("the number of samples", self.samples, 1, 65536)
        require_choice("the grading", self.grading, GRADINGS)
        if self.limit is not None:
            require_number("the limit", self.limit, 1, 10**9)

    def asked(self, problems: Sequence[Problem]) -> Sequence[Problem]:
        """Those of a task's problems that this run asks."""
        return problems[:self.limit][self.shard.number - 1::self.shard.of]

    def table(self) -> dict[str, Any]:
        """As run.toml has it."""
        return {
            "tasks": list(self.tasks), "samples": self.samples, "limit": self.limit or 0, "seed": self.seed,
            "max_tokens": self.max_tokens or 0, "reasoning": self.reasoning,
            "reasoning_budget": -1 if self.reasoning_budget is None else self.reasoning_budget,
            "grading": self.grading, "shard": f"{self.shard.number}/{self.shard.of}", "date": FROZEN_DATE,
            "arms": [{"method": arm.method, "temperature": arm.temperature, "control": arm.control}
                     for arm in self.arms],
            "primary": [asdict(one) for one in self.primary],
        }

    def to_toml(self) -> str:
        """The text of run.toml."""
        return _HEADER + "".join(_lines(self.table()))


def plan_of(path: Path) -> Plan:
    """The plan in a run.toml. Raises BadInput naming what is wrong."""
    try:
        table = tomllib.loads(read_text(path))
        number, _, of = str(table["shard"]).partition("/")
        budget = table["reasoning_budget"]
        return Plan(
            tuple(table["tasks"]), tuple(Arm(**{field.name: arm[field.name] for field in fields(Arm)})
                                         for arm in table["arms"]),
            table["samples"], table["limit"] or None, table["seed"], table["max_tokens"] or None, table["reasoning"],
            None if budget == -1 else budget, table["grading"], Shard(int(number), int(of)),
            tuple(Primary(**one) for one in table.get("primary", [])))
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{path}: this is no plan of an evaluation: {type(error).__name__}: {error}") from None


def first_difference(before: object, now: object, name: str = "") -> tuple[str, object, object] | None:
    """The first place where two trees of JSON differ: its name and both values; None if they are equal."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        pairs = [(f"{name}.{key}".lstrip("."), before.get(key), now.get(key)) for key in {**before, **now}]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = [(f"{name}[{i}]", a, b) for i, (a, b) in enumerate(zip(before, now, strict=True))]
    else:
        return None if before == now else (name, before, now)
    return next((found for place, a, b in pairs if (found := first_difference(a, b, place))), None)


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    """TOML of strings, numbers, lists of strings, and then lists of such tables."""
    tables = {key: value for key, value in table.items() if isinstance(value, list) and value
              and isinstance(value[0], dict)}
    for key, value in table.items():
        if key not in tables:
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
    for key, rows in tables.items():
        for row in rows:
            yield f"\n[[{key}]]\n"
            yield from _lines(row)
