"""A run that somebody works on: what its files have gained since the last look."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Generic

from ledlocal.evals.plan import plan_of
from ledlocal.evals.run_folder import (
    PLAN,
    SAMPLES,
    SCORES,
    Record,
    Sample,
    Score,
    read_problems,
    records_of,
)
from ledlocal.text_file import open_regular
from ledlocal.values.errors import BadInput

PIECE = 1 << 24
"""Bytes at a time."""


class _Tail(Generic[Record]):
    """A file that grows by whole lines; another one may take its place."""

    def __init__(self, path: Path, kind: type[Record]) -> None:
        self._path = path
        self._kind: type[Record] = kind
        self._inode: int | None = None
        self.offset = self._lines = 0
        """Bytes that were read."""

    @property
    def replaced(self) -> bool:
        """It is no more the file that was read."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return self._inode is not None
        return self._inode not in (None, status.st_ino) or status.st_size < self.offset

    def more(self) -> Iterator[Record]:
        """Some of what came since the last time. Raises BadInput naming a damaged line."""
        if not self._path.exists():
            return
        with open_regular(self._path) as file:
            self._inode = os.fstat(file.fileno()).st_ino
            file.seek(self.offset)
            data = file.read(PIECE) + file.readline()
        whole = data[:data.rfind(b"\n") + 1]
        before = self._lines
        self.offset += len(whole)
        self._lines += whole.count(b"\n")
        yield from records_of(whole, self._kind, self._path, before)


class Follower:
    """Looks into a run's folder, and never writes."""

    def __init__(self, path: Path) -> None:
        """Raises BadInput if it is no run, or one that has not begun."""
        if not (path / PLAN).is_file():
            raise BadInput(f"{path} is no run: there is no {PLAN} in it")
        self.path, self.plan, self.problems = path, plan_of(path / PLAN), read_problems(path)
        self._begin()

    def _begin(self) -> None:
        self._samples, self._scores = _Tail(self.path / SAMPLES, Sample), _Tail(self.path / SCORES, Score)

    @property
    def replaced(self) -> bool:
        """What was read is out of date, as after `ledlocal grade`; `more` then begins anew."""
        return self._samples.replaced or self._scores.replaced

    def more(self) -> Iterator[Sample | Score]:
        """Some of the samples and scores that came since the last time; nothing: that is all for now.

        A line that is half written waits. Raises BadInput naming a damaged one.
        """
        if self.replaced:
            self._begin()
        yield from self._samples.more()
        yield from self._scores.more()
