"""A run that grows under somebody's hands is read as far as it is whole, and nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluations import CONTROL, LED, problems, sample, score

import ledlocal.evals.follower
from ledlocal.evals.follower import Follower
from ledlocal.evals.plan import Plan
from ledlocal.evals.run_folder import PLAN, PROBLEMS, SAMPLES, SCORES, Sample, Score, to_lines, to_records
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
    assert list(follower.more()) == []
    one, two, judged = sample("0", 0), sample("0", 1), score("0", 0, True, "gold 0")
    add(run, SAMPLES, one)
    assert list(follower.more()) == [one]
    add(run, SCORES, judged)
    add(run, SAMPLES, two)
    assert list(follower.more()) == [two, judged]
    assert list(follower.more()) == []


def test_half_a_line_waits(run: Path) -> None:
    follower, line = Follower(run), to_records([sample("0", 0)])
    (run / SAMPLES).write_text(line[:-20])
    assert list(follower.more()) == []
    (run / SAMPLES).write_text(line)
    assert list(follower.more()) == [sample("0", 0)]


def test_scores_that_were_replaced_are_read_anew(run: Path) -> None:
    """As `ledlocal grade` does; the samples come again, too, for whoever forgets everything."""
    follower = Follower(run)
    add(run, SAMPLES, sample("0", 0))
    add(run, SCORES, score("0", 0, False, None))
    assert len(list(follower.more())) == 2 and not follower.replaced
    (run / "new").write_text(to_records([score("0", 0, True, "x")]))
    (run / "new").replace(run / SCORES)
    assert follower.replaced
    assert list(follower.more()) == [sample("0", 0), score("0", 0, True, "x")]
    assert not follower.replaced


def test_a_large_file_comes_in_pieces(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledlocal.evals.follower, "PIECE", 700)
    every = [sample(problem, i) for problem in "01" for i in range(20)]
    add(run, SAMPLES, *every)
    follower, found, looks = Follower(run), [], 0
    while more := list(follower.more()):
        found += more
        looks += 1
    assert found == every and looks > 5


def test_a_damaged_line_is_named_by_its_number_in_the_file(run: Path) -> None:
    follower = Follower(run)
    add(run, SAMPLES, sample("0", 0), sample("0", 1))
    assert len(list(follower.more())) == 2
    with (run / SAMPLES).open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(BadInput, match=r"samples.jsonl: line 3 is no sample"):
        list(follower.more())


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"is no run: there is no run\.toml in it"):
        Follower(tmp_path)
