"""`ledlocal samples` on runs written by hand: counts, marks, samples in full, refusals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from evaluations import CONTROL, LED, STANDARD, problems, sample, score
from wcwidth import wcswidth

from ledlocal import cli
from ledlocal.evals.arm import Arm, arms
from ledlocal.evals.plan import Plan
from ledlocal.evals.reading import overview, read_run, transcripts
from ledlocal.evals.run_folder import PLAN, PROBLEMS, SAMPLES, SCORES, RunFolder, Sample, Score, to_lines
from ledlocal.evals.task import Problem, Problems

GRADES = {"0": {STANDARD: (True, True), LED: (True, False), CONTROL: (True, True)},
          "1": {STANDARD: (False, False), LED: (True, True), CONTROL: (False, True)},
          "2": {STANDARD: (None, True), LED: (True, None), CONTROL: (True, False)},
          "3": {STANDARD: (True,)}}
"""By problem and arm: right, wrong, not graded. Of the last problem one sample is there."""


def run(*args: str) -> Result:
    return CliRunner().invoke(cli.main, ["samples", *args], prog_name="ledlocal")


def written(path: Path, plan: Plan, asked: Problems, said: Sequence[Sample], scores: Sequence[Score]) -> str:
    with RunFolder(path) as folder:
        folder.write(PLAN, plan.to_toml())
        folder.write(PROBLEMS, to_lines(asked))
        folder.append(SAMPLES, said)
        folder.append(SCORES, scores)
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Two samples of four problems with three arms."""
    keys = [(problem, i, arm, grade) for problem, by_arm in GRADES.items() for arm, grades in by_arm.items()
            for i, grade in enumerate(grades)]
    said = [replace(sample(problem, i, arm, explored=int(arm is LED)), answer=f"{arm.method} {i}")
            for problem, i, arm, _ in keys]
    scores = [score(problem, i, grade, None if grade is None else "gold" if grade else "other", arm)
              for problem, i, arm, grade in keys]
    return written(tmp_path / "run", Plan(("t",), (STANDARD, LED, CONTROL), 2), {"t": problems(4)}, said, scores)


def test_a_line_per_problem(folder: str) -> None:
    """Problem 2: led is right in sample 0 and not graded in sample 1, where its control is wrong: no difference."""
    done = run(folder)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == """\
right of graded samples; +1, -1: against the control
problem  standard  led     control  known answer
0        2/2       1/2 -1  2/2      gold 0
1        0/2       2/2 +1  1/2      gold 1
2        1/1       1/1     1/2      gold 2
3        1/1       -       -        gold 3
"""


def rows(*args: str) -> list[list[str]]:
    """Words of the table without its first line."""
    done = run(*args)
    assert done.exit_code == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()[1:]]


def test_problems_on_which_methods_differ(folder: str) -> None:
    """Problem 2: standard is right in sample 1, where control is wrong."""
    assert [row[0] for row in rows(folder, "--differ")] == ["problem", "0", "1", "2"]
    assert [row[0] for row in rows(folder, "--differ", "--method", "led", "--method", "control")] == [
        "problem", "0", "1"]
    done = run(folder, "--differ", "--method", "led")
    assert (done.exit_code, done.stderr) == (2, "ledlocal: to differ, it takes two methods at the same temperature\n")


def test_a_method_alone_is_still_compared_with_its_control(folder: str) -> None:
    assert rows(folder, "--method", "led", "--temp", "0.6")[:2] == [
        ["problem", "led", "known", "answer"], ["0", "1/2", "-1", "gold", "0"]]
    assert "control" not in run(folder, "--method", "standard").stdout


def test_a_problem_in_full(folder: str) -> None:
    done = run(folder, "2", "--sample", "1", "--thinking")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == """\
t 2
  question 2
known answer
  gold 2
right of graded samples
  standard 1/1 · led 1/1 · control 1/2

standard, sample 1: right
10 thinking + 2 answer tokens · explored 0, changed 0 · vote gold
  | hm
  standard 1

led, sample 1: not graded
10 thinking + 2 answer tokens · explored 1, changed 0 · no vote
  | hm
  led 1

control, sample 1: wrong
10 thinking + 2 answer tokens · explored 0, changed 0 · vote other
  | hm
  control 1
"""
    assert "hm" not in run(folder, "2").stdout


def headings(*args: str) -> list[str]:
    done = run(*args)
    assert done.exit_code == 0, done.stderr
    return [line for line in done.stdout.splitlines() if ", sample " in line]


def test_samples_are_chosen(folder: str) -> None:
    assert headings(folder, "2", "--right") == ["standard, sample 1: right", "led, sample 0: right",
                                                "control, sample 0: right"]
    assert headings(folder, "2", "--wrong", "--method", "control") == ["control, sample 1: wrong"]
    assert len(headings(folder, "2", "--wrong", "--right")) == 4
    assert len(headings(folder, "2")) == 6
    done = run(folder, "--wrong", "--method", "standard")  # of every problem
    assert [line for line in done.stdout.splitlines() if line.startswith("t ")] == ["t 1"]
    nothing = run(folder, "--wrong", "--sample", "7")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert nothing.stderr == "the run has nothing like this\n"


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    """Samples that were not judged yet, a problem without any, and no scores at all."""
    short = replace(sample("0", 1, finish="length"), reason="the context of 512 tokens is full", answer="")
    path = written(tmp_path, Plan(("t",), (LED, CONTROL), 2), {"t": problems(2)}, [sample("0", 0), short], [])
    assert rows(path)[1:] == [["0", "0/0", "-", "gold", "0"], ["1", "-", "-", "gold", "1"]]
    assert headings(path, "0") == ["led, sample 0: not graded (not judged yet)",
                                   "led, sample 1: not graded (not judged yet, cut short, the context of 512 tokens "
                                   "is full)"]
    assert "  2 of 4 samples are not there yet\n" in run(path, "0").stdout
    done = run(path, "1")
    assert done.stdout.splitlines()[:2] == ["t 1", "  question 1"] and "  4 of 4 samples are not" in done.stdout
    [first, _] = map(json.loads, run(path, "--json").stdout.splitlines())
    assert first["score"] is None


def test_why_a_sample_has_its_verdict(tmp_path: Path) -> None:
    said = [sample("0", 0, finish="length"), replace(sample("0", 1, finish="invalid"), reason="too long"),
            sample("0", 2), sample("0", 3, finish="length")]
    scores = [replace(score("0", 0, False, None), reason="cut short"),
              replace(score("0", 1, None, None), reason="too long"),
              replace(score("0", 2, None, None), reason="the grader took too long"), score("0", 3, True, "gold")]
    path = written(tmp_path, Plan(("t",), (LED,), 4), {"t": problems(1)}, said, scores)
    assert headings(path, "0") == ["led, sample 0: wrong (cut short)", "led, sample 1: not graded (too long)",
                                   "led, sample 2: not graded (the grader took too long)",
                                   "led, sample 3: right (cut short)"]


def test_json_has_samples_with_their_scores(folder: str) -> None:
    lines = run(folder, "--json").stdout.splitlines()
    assert len(lines) == 19
    assert json.loads(lines[2]) == {
        "task": "t", "problem": "0", "method": "led", "temperature": 0.6, "sample": 0, "finish": "stop", "reason": "",
        "prompt_tokens": 5, "thinking_tokens": 10, "answer_tokens": 2, "explored": 1, "changed": 0, "depths": [1, 0],
        "thinking": "hm", "answer": "led 0",
        "score": {"grading": "answer", "correct": True, "vote": "gold", "reason": ""}}
    chosen = map(json.loads, run(folder, "2", "--json", "--wrong", "--right").stdout.splitlines())
    assert [(one["method"], one["sample"]) for one in chosen] == [
        ("standard", 1), ("led", 0), ("control", 0), ("control", 1)]


@pytest.mark.parametrize(("args", "line"), [
    (("problem 12",), "the run has no problem 'problem 12'; near: problem 1; without a PROBLEM all are listed"),
    (("x",), "the run has no problem 'x'; without a PROBLEM all are listed"),
    (("--task", "u"), "the task must be one of t, not 'u'"),
    (("--method", "topk"), "a method must be one of led, not 'topk'"),
    (("--temp", "1"), "the temperature must be one of 0.6, not '1'"),
])
def test_what_is_not_there_is_refused(tmp_path: Path, args: tuple[str, ...], line: str) -> None:
    asked = [Problem("problem 1", "q", "g", "s")]
    path = written(tmp_path, Plan(("t",), (LED,), 1), {"t": asked}, [], [])
    done = run(path, *args)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"ledlocal: {line}\n")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    done = run(str(tmp_path))
    assert (done.exit_code, done.stderr) == (2, f"ledlocal: {tmp_path / PLAN}: No such file or directory\n")


def test_several_tasks_and_temperatures(tmp_path: Path) -> None:
    """A problem's name stands for it in every task; at another temperature it is another arm."""
    warm = Arm("standard", 1.0)
    keys = [(task, arm, i) for task in ("t", "u") for arm in (STANDARD, warm) for i in range(2)]
    said = [replace(sample("0", i, arm), task=task) for task, arm, i in keys]
    scores = [replace(score("0", i, arm is warm, "x", arm), task=task) for task, arm, i in keys]
    asked = {"t": problems(1), "u": problems(1)}
    path = written(tmp_path, Plan(("t", "u"), (STANDARD, warm), 2), asked, said, scores)
    assert run(path).stdout == """\
right of graded samples
task  problem  standard @ 0.6  standard @ 1  known answer
t     0        0/2             2/2           gold 0
u     0        0/2             2/2           gold 0
"""
    assert rows(path, "--task", "u", "--temp", "1") == [["problem", "standard", "known", "answer"],
                                                        ["0", "2/2", "gold", "0"]]
    assert len(headings(path, "0", "--temp", "1.0")) == 4
    assert run(path, "--differ").exit_code == 2


STRANGE = "a \x1b[31m red word, \u202e and 中文" * 8 + "\n\nled, sample 0: right\n    indented\n"


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Ten arms, and text that nobody should trust."""
    compared = arms(["standard", "led", "led:norm=1,d=4"], [0.6, 1.0], {"d": ["2", "8"]})
    asked = {"t": [Problem("0", STRANGE, STRANGE, "s")]}
    said = [replace(sample("0", 0, arm), answer=STRANGE, thinking=STRANGE) for arm in compared]
    written(tmp_path, Plan(("t",), compared, 1), asked, said,
            [replace(score("0", 0, None, STRANGE, arm), reason=STRANGE) for arm in compared])
    return tmp_path


@pytest.mark.parametrize("columns", [79, 119])
def test_a_table_fits_a_terminal(wide: Path, columns: int) -> None:
    """Methods that are too long for it are numbered."""
    lines = [line for line, _ in overview(read_run(wide), columns)]
    assert max(map(len, lines)) <= columns
    assert lines[1:3] == ["#1  standard @ 0.6", "#2  led:d=2 @ 0.6"]
    assert lines[-2].split() == ["problem", *(f"#{i}" for i in range(1, 11)), "known", "answer"]
    few = [line for line, _ in overview(read_run(wide).with_arms(("standard", "control"), 1.0), columns)]
    assert few[1].split() == ["problem", "standard", "control", "known", "answer"]
    assert "\x1b" not in few[2] and "\n" not in few[2] and len(few[2]) == columns


@pytest.mark.parametrize("columns", [79, 119])
def test_text_of_others_is_indented_and_broken_between_words(wide: Path, columns: int) -> None:
    reading = read_run(wide).with_arms(("led:d=2",), 1.0)
    lines = [line for line, _ in transcripts(reading, lambda _: True, True, columns)]
    text = "\n".join(lines)
    assert "\x1b" not in text and "\u202e" not in text
    ours = [line for line in lines if line and not line.startswith("  ")]
    assert len(ours) == 5 and ours[3].startswith("led:d=2, sample 0: not graded (a ␛[31m red word, ")
    assert sum(line == "  led, sample 0: right" for line in lines) == 3
    assert sum(line == "  | led, sample 0: right" for line in lines) == 1
    assert "      indented" in lines and "  |     indented" in lines
    foreign = [line for line in lines if line.startswith("  ")]
    assert columns - 20 < max(map(wcswidth, foreign)) <= columns


def test_a_pipe_gets_the_lines_as_they_were_written(wide: Path) -> None:
    first = STRANGE.split("\n")[0]
    assert run(str(wide), "0", "--method", "standard", "--temp", "1").stdout.count(f"\n  {first}\n") == 3
