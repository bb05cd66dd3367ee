"""Every task of reasoning-gym: its problems are the same everywhere, and its grader tells right from wrong."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import pickle
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest

from ledlocal.evals import gym
from ledlocal.evals.grading import Grader, require_sound
from ledlocal.evals.gym import REFUSED, Gym, gym_names
from ledlocal.evals.task import Grade
from ledlocal.values.errors import BadInput

reasoning_gym = pytest.importorskip("reasoning_gym", reason="needs reasoning-gym: pip install 'ledlocal[gym]'")

SIZE = 3
NAMES = gym_names()
ALL = sorted(reasoning_gym.factory.DATASETS)

_ELSEWHERE = """
import json, sys
from ledlocal.evals import gym
digests = {}
for name in json.loads(sys.argv[1]):
    task = gym.Gym(name, int(sys.argv[2]))
    for i in reversed(range(task.size)):
        gym._entry(name, task.size, i)
    digests[name] = digest(task)
json.dump(digests, sys.stdout)
"""


def digest(task: Gym) -> str:
    return hashlib.sha256(repr(task.problems()).encode()).hexdigest()


@pytest.fixture(scope="module")
def elsewhere() -> dict[str, str]:
    """Digests from a process with another order of sets, which draws the last problem first."""
    source = "import hashlib\nfrom ledlocal.evals.gym import Gym\n" + inspect.getsource(digest) + _ELSEWHERE
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run([sys.executable, "-c", source, json.dumps(NAMES), str(SIZE)], capture_output=True, text=True,
                          check=True, env={**os.environ, "PYTHONHASHSEED": seed})
    found: dict[str, str] = json.loads(done.stdout)  # nothing else is printed
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_problems_never_change(name: str, elsewhere: dict[str, str]) -> None:
    assert digest(Gym(name, SIZE)) == elsewhere[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_grader_tells_right_from_wrong(name: str) -> None:
    task = Gym(name, SIZE)
    problems = task.problems()
    assert 0 < len({problem.id for problem in problems}) == len(problems) <= SIZE
    for problem in problems:
        assert problem.gold and problem.question.endswith(" between <answer> and </answer>.")
        assert task.grade(problem, f"I think:\n{problem.solution}\n") == Grade(True, problem.gold)
        assert task.grade(problem, "<answer>x</answer> no: " + problem.solution).correct
        for nothing in ("", problem.gold, "<answer></answer>", "<answer> \n</answer>", "<answer>" + problem.gold):
            assert task.grade(problem, nothing) == Grade(False, None)
        for wrong in ("no such thing", "nan", "[]", "{}", "0, 0", "9" * 400, "ü\0"):
            judged = task.grade(problem, f"<answer>{wrong}</answer>")
            assert (judged.correct, judged.vote) == (False, wrong), wrong
            assert not judged.reason or judged.reason.startswith(f"not in a form that gym:{name} reads: "), judged
    others = [(a, b) for a, b in permutations(problems, 2) if a.gold != b.gold]
    assert not others or not all(task.grade(a, b.solution).correct for a, b in others), "takes every answer"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_answer_is_not_executed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some graders call eval() on it; this is also how a model could see the known answer."""
    monkeypatch.chdir(tmp_path)
    task = Gym(name, SIZE)
    problem = task.problems()[0]
    call = "__import__('pathlib').Path('executed').touch()"
    for attack in (call, f"[{call}]", f"({call}, 1)[1]", f"1 + {call}", f"x*{call}", "oracle_answer", "entry['answer']",
                   "valid_solutions[0]", f"lambda: {call}", f"eval({call!r})"):
        assert not task.grade(problem, f"<answer>{attack}</answer>").correct
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_is_not_the_answers_fault_makes_no_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Gym("coin_flip", SIZE)
    [problem, *_] = task.problems()
    monkeypatch.setattr(gym, "_score", lambda *_: 1 / 0)
    assert task.grade(problem, "<answer>1</answer>").correct is False  # as a parser that meets a division by zero

    def broken(*_: object) -> float:
        raise RuntimeError("the grader is broken")

    monkeypatch.setattr(gym, "_score", broken)
    with pytest.raises(RuntimeError, match="the grader is broken"):
        task.grade(problem, "<answer>1</answer>")


def test_graders_that_evaluate_are_known() -> None:
    evaluate = {name for name, (made, _) in reasoning_gym.factory.DATASETS.items()
                if any(word in inspect.getsource(made.score_answer) for word in ("eval(", "exec(", "parse_expr"))}
    assert evaluate - REFUSED.keys() - gym._FORMS.keys() == {"number_sorting"}  # evaluates the known answer only


def test_a_question_is_asked_once() -> None:
    problems = Gym("coin_flip").problems()
    assert len({problem.question for problem in problems}) == len(problems) < 100


def test_every_task_is_run_or_refused_with_a_reason() -> None:
    assert sorted([*NAMES, *REFUSED]) == ALL
    for name in REFUSED:
        with pytest.raises(BadInput, match=f"^gym:{name} cannot be run: "):
            Gym(name).problems()


def test_it_is_graded_in_another_process() -> None:
    task = Gym("futoshiki", SIZE)
    assert pickle.loads(pickle.dumps(task)) == task and task.name == "gym:futoshiki"
    with Grader() as grader:
        require_sound(grader, task, task.problems())


@pytest.mark.parametrize(("name", "said"), [
    ("sudok", "gym:sudok: no such task; did you mean sudoku, mini_sudoku"), ("zzzzz", "gym:zzzzz: no such task")])
def test_a_wrong_name(name: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        Gym(name).problems()
    assert str(refused.value).startswith(said) and "\n" not in str(refused.value)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    gym._datasets.cache_clear()
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    for asked in (gym_names, Gym("sudoku").problems):
        with pytest.raises(BadInput, match=r"need the extra `gym`: pip install 'ledlocal\[gym\]'"):
            asked()
