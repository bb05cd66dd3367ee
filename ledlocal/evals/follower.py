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


class _Replaced(Exception):
    """Another file has taken the place of one that was read."""


class _Tail(Generic[Record]):
    """A file that grows by whole lines."""

    def __init__(self, path: Path, kind: type[Record]) -> None:
        self._path = path
        self._kind: type[Record] = kind
        self._inode: int | None = None
        self.offset = self._lines = 0
        """Bytes that were read."""

    def more(self) -> Iterator[Record]:
        """Some of what came since the last time. Raises _Replaced, or BadInput naming a damaged line."""
        if not self._path.exists():
            if self._inode is not None:
                raise _Replaced
            return
        with open_regular(self._path) as file:
            status = os.fstat(file.fileno())
            if self._inode not in (None, status.st_ino) or status.st_size < self.offset:
                raise _Replaced
            self._inode = status.st_ino
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
        self._arms = {(arm.method, arm.temperature) for arm in self.plan.arms}
        self._asked = {(task, problem.id) for task, asked in self.problems.items() for problem in asked}
        self._begin()

    def _begin(self) -> None:
        self._samples, self._scores = _Tail(self.path / SAMPLES, Sample), _Tail(self.path / SCORES, Score)

    def more(self) -> list[Sample | Score] | None:
        """Some of the samples and scores that came since the last time; an empty list: that is all for now.

        None: the files were replaced, as by `ledlocal grade`; what was read is out of date, and comes anew. A line that
        is half written waits. Raises BadInput naming one that is damaged, or a sample that the plan does not ask for.
        """
        try:
            found: list[Sample | Score] = [*self._samples.more(), *self._scores.more()]
        except _Replaced:
            self._begin()
            return None
        for one in found:
            if (one.method, one.temperature) not in self._arms or (one.task, one.problem) not in self._asked:
                raise BadInput(f"{self.path}: {one.task} {one.problem} with {one.method} at temperature "
                               f"{one.temperature:g} is not in its {PLAN}")
        return found
