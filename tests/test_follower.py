"""A run that grows under somebody's hands is read as far as it is whole, and nothing twice."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from evaluations import CONTROL, LED, problems, sample, score

import ledlocal.evals.follower
from ledlocal.evals.follower import Follower
from ledlocal.evals.plan import Plan
from ledlocal.evals.run_folder import PLAN, PROBLEMS, SAMPLES, SCORES, Sample, Score, runs_in, to_lines, to_records
from ledlocal.values.errors import BadInput

ASKED = Plan(("t",), (LED, CONTROL), 2)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / PLAN).write_text(ASKED.to_toml())
    (tmp_path / PROBLEMS).write_text(to_lines({"t": problems(2)}))
    return tmp_path


def add(run: Path, name: str, *records: Sample | Score) -> None:
    with (run / name).open("a") as file:
        file.write(to_records(records))


def test_what_came_since_the_last_look(run: Path) -> None:
    follower = Follower(run)
    assert (follower.plan, follower.problems) == (ASKED, {"t": problems(2)})
    assert follower.more() == []
    one, two, judged = sample("0", 0), sample("0", 1), score("0", 0, True, "gold 0")
    add(run, SAMPLES, one)
    assert follower.more() == [one]
    add(run, SCORES, judged)
    add(run, SAMPLES, two)
    assert follower.more() == [two, judged]
    assert follower.more() == []


def test_half_a_line_waits(run: Path) -> None:
    follower, line = Follower(run), to_records([sample("0", 0)])
    (run / SAMPLES).write_text(line[:-20])
    assert follower.more() == []
    (run / SAMPLES).write_text(line)
    assert follower.more() == [sample("0", 0)]


def test_scores_that_were_replaced_are_read_anew(run: Path) -> None:
    """As `ledlocal grade` does; the samples come again, too, for whoever forgets everything."""
    follower = Follower(run)
    add(run, SAMPLES, sample("0", 0))
    add(run, SCORES, score("0", 0, False, None))
    assert len(follower.more() or ()) == 2
    (run / "new").write_text(to_records([score("0", 0, True, "x")]))
    (run / "new").replace(run / SCORES)
    assert follower.more() is None
    assert follower.more() == [sample("0", 0), score("0", 0, True, "x")]
    assert follower.more() == []


def test_a_large_file_comes_in_pieces(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledlocal.evals.follower, "PIECE", 700)
    every = [sample(problem, i) for problem in "01" for i in range(20)]
    add(run, SAMPLES, *every)
    follower, looks = Follower(run), 0
    found: list[Sample | Score] = []
    while more := follower.more():
        found += more
        looks += 1
    assert found == every and looks > 5


def test_a_damaged_line_is_named_by_its_number_in_the_file(run: Path) -> None:
    follower = Follower(run)
    add(run, SAMPLES, sample("0", 0), sample("0", 1))
    assert len(follower.more() or ()) == 2
    with (run / SAMPLES).open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(BadInput, match=r"samples.jsonl: line 3 is no sample"):
        follower.more()


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no run: there is no run\.toml in it"):
        Follower(tmp_path)


def test_what_the_plan_does_not_ask_for_is_refused(run: Path) -> None:
    for strange in (sample("7", 0), replace(sample("0", 0), method="zzz"), replace(sample("0", 0), temperature=2.0)):
        (run / SAMPLES).write_text(to_records([strange]))
        with pytest.raises(BadInput, match=r"is not in its run\.toml"):
            Follower(run).more()


def test_the_run_that_was_worked_on_last_comes_first(tmp_path: Path) -> None:
    """Whatever else lies in the folders: a dangling link, a run that cannot be looked at."""
    for i, name in enumerate(("old", "new", "begun")):
        (tmp_path / name).mkdir()
        (tmp_path / name / PLAN).write_text("")
        if name != "begun":
            (tmp_path / name / SAMPLES).write_text("")
            os.utime(tmp_path / name / SAMPLES, (1000 + i, 1000 + i))
        os.utime(tmp_path / name / PLAN, (10 + i, 10 + i))
    (tmp_path / "new" / ".#samples").symlink_to("nowhere")
    assert [path.name for path in runs_in(tmp_path)] == ["new", "old", "begun"]
    assert runs_in(tmp_path / "missing") == []
