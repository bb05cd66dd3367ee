"""One line for every step of a run, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def append(path: Path, record: Record) -> None:
    """At once, so that a run that is killed has said what it did."""
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def keep(path: Path, steps: int) -> None:
    """Take away what a killed run wrote behind its last checkpoint: lines beyond `steps`, and one that is torn."""
    if path.exists():
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:steps]))


def records(path: Path) -> list[Record]:
    """One for every step."""
    return [json.loads(line) for line in path.read_text().splitlines()]
