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


def mend(path: Path) -> None:
    """Take away a last line that a killed run left unfinished."""
    if path.exists():
        text = path.read_text()
        path.write_text(text[:text.rfind("\n") + 1])


def records(path: Path, key: str) -> list[Record]:
    """By `key`, the step's number; one that was made again after an interruption counts as it was made last."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [*{line[key]: line for line in lines}.values()]
