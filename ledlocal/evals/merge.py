"""Shards of one plan to one run, as if it had never been cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from ledlocal.evals.manifest import ELSEWHERE, PASSING, comparable, read_manifest
from ledlocal.evals.plan import Plan, Shard, first_difference, plan_of
from ledlocal.evals.run import summarize
from ledlocal.evals.run_folder import (
    MANIFEST,
    PLAN,
    PROBLEMS,
    SAMPLES,
    SCORES,
    TIMINGS,
    RunFolder,
    Score,
    read_problems,
    read_records,
    to_lines,
)
from ledlocal.evals.task import Problem
from ledlocal.values.errors import BadInput


def merge(into: RunFolder, parts: Sequence[Path]) -> dict[str, Any]:
    """Write the whole run; its summary. Raises BadInput unless the parts are all shards of one plan, done alike."""
    if (into.path / PLAN).exists():
        raise BadInput(f"{into.path} holds a run already")
    plans = sorted(((plan_of(path / PLAN), path) for path in parts), key=lambda pair: pair[0].shard.number)
    _require_all_shards(plans)
    first, at = plans[0]
    whole = replace(first, shard=Shard())
    manifest = read_manifest(at)
    for plan, path in plans[1:]:
        _require_same(at, path, whole.table(), replace(plan, shard=Shard()).table())
        other = read_manifest(path)
        _require_same(at, path, comparable(manifest, (*PASSING, *ELSEWHERE)), comparable(other, (*PASSING, *ELSEWHERE)))
        if comparable(manifest) != comparable(other):
            manifest["repeatable"] = "up to rounding: its shards were made on different machines"
    asked = [read_problems(path) for _, path in plans]
    gradings = {score.grading for path in parts for score in read_records(path / SCORES, Score).values()}
    if len(gradings) > 1:
        raise BadInput(f"the shards are judged by {' and '.join(sorted(gradings))}; `ledlocal grade` makes them alike")
    into.write(MANIFEST, json.dumps(manifest, indent=1) + "\n")
    into.write(PROBLEMS, to_lines({task: _dealt([one.get(task, ()) for one in asked]) for task in whole.tasks}))
    for name in (SAMPLES, SCORES, TIMINGS):
        texts = [(path / name).read_text(encoding="ascii") for _, path in plans if (path / name).exists()]
        into.write(name, "".join(text[:text.rfind("\n") + 1] for text in texts))
    into.write(PLAN, whole.to_toml())  # the last: now it is a run
    return summarize(into)


def _require_all_shards(plans: Sequence[tuple[Plan, Path]]) -> None:
    of = plans[0][0].shard.of
    numbers = [plan.shard.number for plan, _ in plans]
    if any(plan.shard.of != of for plan, _ in plans) or numbers != list(range(1, of + 1)):
        raise BadInput(f"these are shards {', '.join(f'{plan.shard.number}/{plan.shard.of}' for plan, _ in plans)}; "
                       f"a merge needs each of 1 ... {of} once")


def _require_same(first: Path, path: Path, before: object, now: object) -> None:
    if found := first_difference(before, now):
        name, old, new = found
        raise BadInput(f"{name} is {json.dumps(old)} in {first}, and {json.dumps(new)} in {path}")


def _dealt(hands: Sequence[Sequence[Problem]]) -> list[Problem]:
    """The problems in the order from which they were dealt, one to each shard in turn."""
    return [problem for problem in chain.from_iterable(zip_longest(*hands)) if problem is not None]
