"""The folder of a run: what was asked, what it was done with, and every sample; whole whatever happens meanwhile.

    run.toml         the plan                          manifest.json    model, data, build: what must not change
    problems.jsonl   what was asked                    samples.jsonl    what the model said
    scores.jsonl     what that is worth                timings.jsonl    how long it took
    summary.json     the numbers                       report.md        the numbers for reading, and report.html

Samples, scores and timings only grow, one line per sample; a line that a crash has torn is put aside into NAME.torn.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar, cast

from ledlocal.evals.task import Problem, Problems
from ledlocal.text_file import open_regular, read_text, write_whole
from ledlocal.values.errors import BadInput, OutOfResources
from ledlocal.values.events import Finish
from ledlocal.worker.protocol import Decoder, ProtocolError, decoder

SAMPLES, SCORES, TIMINGS = "samples.jsonl", "scores.jsonl", "timings.jsonl"
PROBLEMS = "problems.jsonl"
PLAN, MANIFEST, SUMMARY = "run.toml", "manifest.json", "summary.json"


class Key(NamedTuple):
    """Which sample of a run."""

    task: str
    problem: str
    method: str
    temperature: float
    sample: int


@dataclass(frozen=True, slots=True)
class Keyed:
    """A line about one sample."""

    task: str
    problem: str
    method: str
    temperature: float
    sample: int

    @property
    def key(self) -> Key:
        """Which sample it is about."""
        return Key(self.task, self.problem, self.method, self.temperature, self.sample)


@dataclass(frozen=True, slots=True)
class Sample(Keyed):
    """What the model said; the same on every machine with the same manifest."""

    finish: Finish
    reason: str
    prompt_tokens: int
    thinking_tokens: int
    answer_tokens: int
    explored: int
    changed: int
    depths: tuple[int, ...]
    """Explored tokens by chosen depth."""
    thinking: str
    answer: str


@dataclass(frozen=True, slots=True)
class Score(Keyed):
    """What a sample is worth; see Grade."""

    grading: str
    correct: bool | None
    vote: str | None
    reason: str


Record = TypeVar("Record", Sample, Score)


class RunFolder:
    """An open run: nobody else has it open. A context manager."""

    def __init__(self, path: Path, create: bool = True) -> None:
        """Raises BadInput if another process has it, OutOfResources if it cannot be made or written."""
        self.path = path
        try:
            if create:
                path.mkdir(parents=True, exist_ok=True)
            elif not (path / PLAN).is_file():
                raise BadInput(f"{path} is no run: there is no {PLAN} in it")
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except (FileExistsError, NotADirectoryError):
            raise BadInput(f"{path} is a file, not a folder for a run") from None
        except OSError as error:
            raise OutOfResources(f"cannot write into {path}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise OutOfResources(f"cannot lock {path}: {error.strerror}") from None
            raise BadInput(f"{path}: another process works on this run") from None
        self._open: dict[str, int] = {}
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for descriptor in (*self._open.values(), self._lock):
            os.close(descriptor)
        self._open.clear()
        self._closed = True

    def samples(self) -> dict[Key, Sample]:
        """Every whole sample. Raises BadInput naming a damaged line."""
        return read_records(self.path / SAMPLES, Sample)

    def scores(self) -> dict[Key, Score]:
        """Every whole score. Raises BadInput naming a damaged line."""
        return read_records(self.path / SCORES, Score)

    def append(self, name: str, records: Iterable[Sample | Score | dict[str, Any]]) -> None:
        """Add lines and see them to the disk: all of them, or the file stays as it was. Raises OutOfResources."""
        if self._closed:  # its numbers may be those of other files by now
            raise ValueError(f"{self.path} is closed")
        text = to_records(records)
        path = self.path / name
        try:
            if name not in self._open:
                self._open[name] = self._opened(path)
            descriptor = self._open[name]
            end = os.fstat(descriptor).st_size
            try:
                left = memoryview(text.encode())
                while left:
                    left = left[os.write(descriptor, left):]
                os.fdatasync(descriptor)
            except BaseException:  # Ctrl-C, too: what is written behind half a line would be lost with it
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, end)
                raise
        except OSError as error:
            raise OutOfResources(f"cannot write {path}: {error.strerror}; what was written before is kept, and the "
                                 "same command goes on from there") from None

    def _opened(self, path: Path) -> int:
        """A file to append to; a last line without an end is moved aside."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        whole, torn = _cut(path.read_bytes())
        if torn:
            with (path.parent / f"{path.name}.torn").open("ab") as aside:
                aside.write(torn + b"\n")
            os.ftruncate(descriptor, len(whole))
        return descriptor

    def write(self, name: str, text: str) -> None:
        """Replace a file: whole, or not at all. Raises OutOfResources."""
        write_whole(self.path / name, text)
        if name in self._open:  # it looks at the file that was replaced
            os.close(self._open.pop(name))


def runs_in(folder: Path) -> list[Path]:
    """The runs in a folder, the last one that was worked on first."""
    return sorted((path.parent for path in folder.glob(f"*/{PLAN}")), key=_worked_on, reverse=True)


def _worked_on(run: Path) -> float:
    """When the last sample was kept, or it was begun; 0 for one that cannot be looked at."""
    for name in (SAMPLES, PLAN):
        with contextlib.suppress(OSError):
            return (run / name).stat().st_mtime
    return 0.0


def read_records(path: Path, kind: type[Record]) -> dict[Key, Record]:
    """Every whole line of a file that may not be there. Raises BadInput naming a line that is no record."""
    try:
        with open_regular(path) as file:
            whole, _torn = _cut(file.read())
    except BadInput:
        if path.exists():
            raise
        return {}
    found: dict[Key, Record] = {}
    for record in records_of(whole, kind, path):
        found.setdefault(record.key, record)
    return found


def records_of(whole: bytes, kind: type[Record], path: Path, before: int = 0) -> Iterator[Record]:
    """The lines of a file, or of what stands behind `before` lines of it. Raises BadInput naming a damaged one."""
    decode: Decoder = decoder(cast(Any, kind))
    for number, line in enumerate(whole.splitlines(), before + 1):
        try:
            yield decode({"type": kind.__name__} | json.loads(line))
        except (ValueError, TypeError, RecursionError, ProtocolError) as error:
            raise BadInput(f"{path}: line {number} is no {kind.__name__.lower()}: {error}") from None


def to_lines(problems: Problems) -> str:
    """problems.jsonl: so that a run can be read, judged and compared without what its questions came from."""
    return "".join(_line({"task": task} | asdict(problem)) for task, asked in problems.items() for problem in asked)


def read_problems(folder: Path) -> Problems:
    """What a run asks, in its order. Raises BadInput."""
    path = folder / PROBLEMS
    found: dict[str, list[Problem]] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            record = json.loads(line)
            found.setdefault(record.pop("task"), []).append(Problem(**record))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadInput(f"{path}: line {number} is no problem: {error}") from None
    return found


def to_records(records: Iterable[Sample | Score | dict[str, Any]]) -> str:
    """Lines of samples, scores or timings."""
    return "".join(map(_line, records))


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """Whole lines, and what a crash left of the last one."""
    end = data.rfind(b"\n") + 1
    return data[:end], data[end:]


def _line(record: Sample | Score | dict[str, Any]) -> str:
    """One line of ASCII: no character of a model's text can end it."""
    return json.dumps(record if isinstance(record, dict) else asdict(record), allow_nan=False) + "\n"
