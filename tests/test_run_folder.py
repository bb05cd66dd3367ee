"""Files of a run: whole lines or none, whatever happens while they are written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from ledlocal.evals.arm import arms
from ledlocal.evals.plan import Plan, Primary, Shard, first_difference, plan_of, primary_of
from ledlocal.evals.run_folder import SAMPLES, SCORES, RunFolder, Sample, Score, read_problems, read_records, to_lines
from ledlocal.evals.task import Problem
from ledlocal.values.errors import BadInput, OutOfResources

STRANGE = "line\nend\r ü ♥ \ud800 \x00  \x85"


def sample(i: int, text: str = "x") -> Sample:
    return Sample("puzzle", "1-2=3", "led", 0.6, i, "stop", "", 5, 3, 2, 1, 1, (0, 1), text, text)


def score(i: int, correct: bool | None = True) -> Score:
    return Score("puzzle", "1-2=3", "led", 0.6, i, "answer", correct, "1+2=3", "")


def test_what_is_appended_is_read_again(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "a" / "run") as folder:
        folder.append(SAMPLES, [sample(0, STRANGE), sample(1)])
        folder.append(SAMPLES, [sample(2)])
        folder.append(SCORES, [score(0), score(1, None), score(2, False)])
        assert list(folder.samples().values()) == [sample(0, STRANGE), sample(1), sample(2)]
        assert [one.correct for one in folder.scores().values()] == [True, None, False]
        assert len((folder.path / SAMPLES).read_text(encoding="ascii").splitlines()) == 3


def test_a_torn_line_is_put_aside(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.append(SAMPLES, [sample(0), sample(1)])
    path = tmp_path / SAMPLES
    whole = path.read_bytes()
    for cut in (1, 20, len(whole) // 2 - 1):
        path.write_bytes(whole[:-cut])
        with RunFolder(tmp_path) as folder:
            assert len(folder.samples()) == 1
            folder.append(SAMPLES, [sample(1)])
            assert path.read_bytes() == whole
    assert len((tmp_path / "samples.jsonl.torn").read_text().splitlines()) == 3


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / SAMPLES
    for line in ("{}", "nonsense", json.dumps({"task": 1}), "[1]", "1", '{"type": "Score"}'):
        path.write_text(line + "\n")
        with pytest.raises(BadInput, match=r"samples.jsonl: line 1 is no sample"):
            read_records(path, Sample)
    assert read_records(tmp_path / "nothing", Sample) == {}


def test_a_run_belongs_to_one_process(tmp_path: Path) -> None:
    with RunFolder(tmp_path), pytest.raises(BadInput, match="another process works on this run"):
        RunFolder(tmp_path)
    with RunFolder(tmp_path):
        pass


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the bytes still fit: the file is as it was before, and the next write is whole."""
    real, room = os.write, [30]

    def write(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real(descriptor, data[:room[0]])
        room[0] -= count
        return count

    with RunFolder(tmp_path) as folder:
        folder.append(SAMPLES, [sample(0)])
        monkeypatch.setattr("ledlocal.evals.run_folder.os.write", write)
        with pytest.raises(OutOfResources, match=r"samples.jsonl: No space left on device; what was written before is"):
            folder.append(SAMPLES, [sample(1)])
        assert list(folder.samples()) == [sample(0).key]
        monkeypatch.undo()
        folder.append(SAMPLES, [sample(1)])
        assert len(folder.samples()) == 2


@pytest.mark.parametrize("place", ["file", "file/in", "/proc/run"])
def test_where_nothing_can_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((BadInput, OutOfResources), match=r"file|/proc/run"):
        RunFolder(tmp_path / place)


def test_plans_and_problems_are_read_as_written(tmp_path: Path) -> None:
    tasks, compared = ("puzzle", 'a"b\\c'), arms(["standard", "led:norm=1"], [0.3, 1.0])
    plan = Plan(tasks, compared, 8, 50, 2**63, 100, "on", 0, "paper", Shard(2, 3), primary_of(tasks, compared, 8))
    (tmp_path / "run.toml").write_text(plan.to_toml())
    assert plan_of(tmp_path / "run.toml") == plan
    assert plan.primary[0] == Primary("puzzle", 0.3, "led:norm=1", "control", "pass@1")
    assert len(plan.primary) == 8
    problems = {"puzzle": [Problem("1", STRANGE.replace("\ud800", ""), "g", "s"), Problem("2", "q", "g", "s")]}
    (tmp_path / "problems.jsonl").write_text(to_lines(problems))
    assert read_problems(tmp_path) == problems
    (tmp_path / "run.toml").write_text("tasks = 1")
    with pytest.raises(BadInput, match=r"run.toml: this is no plan of an evaluation"):
        plan_of(tmp_path / "run.toml")


def test_a_shard_is_every_nth_problem() -> None:
    problems = [Problem(str(i), "q", "g", "s") for i in range(10)]
    parts = [Plan(("t",), (), 1, 8, shard=Shard(i, 3)).asked(problems) for i in (1, 2, 3)]
    assert [[problem.id for problem in part] for part in parts] == [["0", "3", "6"], ["1", "4", "7"], ["2", "5"]]
    with pytest.raises(BadInput, match="a shard's number"):
        Shard(4, 3)


def test_the_first_difference_is_named() -> None:
    assert first_difference({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}) == ("a.b[1]", 2, 3)
    assert first_difference({"a": 1}, {"a": 1, "c": None}) is None  # absent is as good as null
    assert first_difference({"a": [1]}, {"a": [1, 2]}) == ("a", [1], [1, 2])
