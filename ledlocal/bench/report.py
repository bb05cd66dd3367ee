"""What was measured, for reading and as JSON."""

from __future__ import annotations

import json
import os
import platform
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

from ledlocal.bench.plan import Plan, Run
from ledlocal.bench.rows import LEAST_ROUNDS, NOISY, Row, rows_of
from ledlocal.bench.summary import NO_BREAK, interval, summary
from ledlocal.runtime.build import Build
from ledlocal.tables import Table, lines

WIDTH = 79
"""Columns of a line: a terminal of 80 breaks none, also where it shows what was piped."""
RATIOS = ("batch", "method", "/ bare", "/ standard", "explored", "")
SPEEDS = ("batch", "method", "tokens/s", "best", "spread", "ms/step", "rounds")


@dataclass(slots=True)
class Report:
    """Filled as the measurement goes on; may be read at any time."""

    plan: Plan
    build: Build
    file_bytes: int
    load_before: float | None = None
    """Processes that wanted a core, on average over the minute before; None where the system does not tell."""
    runs: list[Run] = field(default_factory=list)
    loaded: dict[str, Any] = field(default_factory=dict)
    threads: int = 0
    depth: int = 0
    """Tokens before those of the phase `decode`."""
    taps: dict[str, str] = field(default_factory=dict)
    """What was opened for the tap asked for."""
    notices: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    planned: dict[str, int] = field(default_factory=dict)
    """Bytes by device that the engine was to take at the largest batch size."""
    measured: dict[str, int] = field(default_factory=dict)
    """The most bytes by device while the engine was open: resident ones of the whole process, what a GPU had less."""
    peaks: dict[str, int] = field(default_factory=dict)
    """Bytes by contender, each in a process of its own."""

    def take(self, event: dict[str, Any]) -> None:
        """What a measurement told."""
        match event["event"]:
            case "run":
                self.runs.append(Run(**event["run"]))
            case "loaded":
                self.loaded, self.threads, self.depth = event["loaded"], event["threads"], event["depth"]
            case "opened":
                self.taps[event["asked"]] = event["tap"]
                if sum(event["memory"].values()) > sum(self.planned.values()):
                    self.planned = event["memory"]
                self._note(event["notices"])
            case "memory" if event["ours"]:
                self.measured |= {device: max(size, self.measured.get(device, 0))
                                  for device, size in event["bytes"].items()}
            case "skipped":
                self.skipped.append(f"batch {event['batch']}, tap {event['tap']}: {event['why']}")
            case "refused":
                self._note([f"{event['contender']}: {event['why']}"])

    def _note(self, sentences: Sequence[str]) -> None:
        self.notices += [sentence for sentence in sentences if sentence not in self.notices]

    @property
    def rows(self) -> list[Row]:
        """So far."""
        return list(rows_of(self.plan, self.runs, self.taps))

    def lines(self) -> Iterator[str]:
        """What it comes to, and the tables, ratios first, under what they were measured with."""
        rows = self.rows
        yield from _wrapped(self._heading())
        yield ""
        yield from _wrapped(summary(rows), "    ")
        yield ""
        yield from lines(self._tables(rows))
        yield ""
        yield from _wrapped(self._remarks(rows))

    def _remarks(self, rows: Sequence[Row]) -> Iterator[str]:
        """How the numbers are to be read."""
        yield from self._memory()
        ratios = [ratio for row in rows for ratio in (row.ratio_to_bare, row.ratio_to_standard) if ratio]
        if ratios:
            least = min(ratio.coverage for ratio in ratios)
            yield ("Ratios are of speeds in the same round: their median over the rounds, and an interval that holds "
                   f"the true one in at least {100 * least:.0f} % of all measurements like this.")
        if any(row.forced for row in rows):
            yield "coin=P: the coin was forced, for this benchmark alone; eager: every token's layers, as in the paper."
        if noisy := sum(row.noisy for row in rows):
            yield (f"~ too noisy to tell: {noisy} of {len(rows)} rows have a ratio whose interval is wider than "
                   f"{100 * NOISY:.0f} points, or fewer than {LEAST_ROUNDS} rounds. {self._remedy()}")
        yield from (f"not measured: {why}" for why in self.skipped)

    def _heading(self) -> Iterator[str]:
        model = self.loaded.get("model", {})
        if model:
            yield (f"{model['name']} · {model['architecture']} · {model['layers']} layers · "
                   f"{model['vocabulary']:,} tokens · {self.file_bytes / 2**20:,.0f} MiB")
        where = [device.description for device in self.build.devices if device.gpu] or [processor()]
        kind = "patched" if self.build.native else "stock"
        yield (f"{', '.join(where)} · {self.threads} threads · llama-cpp-python {self.build.version} ({kind}) · "
               f"ledlocal {version('ledlocal')}")
        if (done := sum(run.phase == "decode" for run in self.runs)) < self.plan.runs:
            yield f"not complete: {done} of {self.plan.runs} runs"

    def _tables(self, rows: Sequence[Row]) -> Iterator[Table]:
        groups = [list(group) for _, group in groupby(rows, lambda row: (row.phase, row.tap, row.asked))]
        for group in groups:
            if any(row.ratio_to_bare or row.ratio_to_standard for row in group):
                yield self._what(group[0]), [RATIOS, *map(_ratios, group)]
        for group in groups:
            yield f"speeds, {self._what(group[0])}", [SPEEDS, *map(_speeds, group)]

    def _what(self, row: Row) -> str:
        if row.phase == "prefill":
            return f"prefill: {self.plan.prompt} tokens to the first of every sequence, tap {row.tap}"
        return f"decode: {self.plan.tokens} tokens of every sequence behind {self.depth}, tap {row.tap}"

    def _memory(self) -> Iterator[str]:
        if self.peaks:
            batch = min(run.batch for run in self.runs)
            yield f"Peak of resident memory at batch {batch}, each in a process of its own: " + ", ".join(
                f"{name} {peak / 2**20:,.1f} MiB" for name, peak in self.peaks.items())
        if self.measured:
            batch = max(run.batch for run in self.runs)
            planned = {device: f" ({size / 2**20:,.1f})" for device, size in self.planned.items()}
            sizes = [f"{device} {size / 2**20:,.1f} MiB{planned.get(device, '')}"
                     for device, size in self.measured.items()]
            yield (f"Peak of all that was measured, up to batch {batch}, the interpreter included (what the engine had "
                   f"planned to take): {', '.join(sizes)}")

    def _remedy(self) -> str:
        busy = self.load_before is not None and self.load_before > 0.5
        others = f"Others used this machine (load {self.load_before:.1f} before the start). " if busy else ""
        return f"{others}More --rounds, or a quieter machine, would tell."

    def to_json(self, complete: bool) -> str:
        """One object."""
        model = self.loaded.get("model", {})
        return json.dumps({
            "complete": complete,
            "rows": [row.to_dict() for row in self.rows],
            "model": {"path": self.plan.options.model, "file_bytes": self.file_bytes, **{
                name: model.get(name) for name in ("name", "architecture", "layers", "vocabulary")}},
            "machine": {"system": platform.platform(), "processor": processor(), "cores": os.cpu_count(),
                        "devices": [asdict(device) for device in self.build.devices], "threads": self.threads,
                        "load_before": self.load_before},
            "build": {"ledlocal": version("ledlocal"), "llama_cpp_python": self.build.version,
                      "features": self.build.features, "patched": self.build.native},
            "memory": {"peak_bytes": self.peaks, "measured_bytes": self.measured,
                       "planned_bytes": self.planned},
            "plan": {name: value for name, value in asdict(self.plan).items() if name not in ("options", "ids")},
            "options": {name: value for name, value in asdict(self.plan.options).items()
                        if name not in ("model", "context", "slots", "tap")},
            "runs": [asdict(run) for run in self.runs],
            "notices": self.notices, "not_measured": self.skipped,
        }, indent=1)


def processor() -> str:
    """The CPU's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _wrapped(sentences: Iterator[str], indent: str = "") -> Iterator[str]:
    for sentence in sentences:
        for line in textwrap.wrap(sentence, WIDTH, subsequent_indent=indent, break_on_hyphens=False):
            yield line.replace(NO_BREAK, " ")


def _ratios(row: Row) -> tuple[str, ...]:
    explored = "" if row.explore_rate is None else f"{100 * row.explore_rate:.1f} %"
    return (str(row.batch), row.method, interval(row.ratio_to_bare) if row.ratio_to_bare else "",
            interval(row.ratio_to_standard) if row.ratio_to_standard else "", explored, "~" if row.noisy else "")


def _speeds(row: Row) -> tuple[str, ...]:
    return (str(row.batch), row.method, f"{row.tokens_per_s:,.1f}", f"{row.best_tokens_per_s:,.1f}",
            f"{100 * row.spread:.1f} %", f"{1e3 * row.seconds_per_step:,.2f}", str(row.rounds))
