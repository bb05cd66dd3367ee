"""Programs as answers: how they are asked for, and what LiveCodeBench's runner gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ledlocal.evals import code
from ledlocal.evals.benchmark import KINDS, PUBLISHED, Benchmark
from ledlocal.evals.grading import Grader
from ledlocal.evals.task import Grade
from ledlocal.values.errors import BadInput

STARTED, OPEN = ({"prompt": [{"from": "user", "value": question}],
                  "final_answer": {"question_title": "t", "question_id": name, "starter_code": starter}}
                 for question, name, starter in (("Add {two} numbers.", "3485", "class Solution:\n    "),
                                                 ("Read two numbers.", "abc301_a", "")))


def written(tmp_path: Path, *items: Any) -> Benchmark:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(items, indent=2))
    return Benchmark("mine", path, "code")


def test_the_papers_prompts(tmp_path: Path) -> None:
    started, opened = written(tmp_path, STARTED, OPEN).problems()
    assert (started.id, opened.id) == ("3485", "abc301_a")
    assert started.question == (
        "You will be given a question (problem specification) and will generate a correct Python program that matches "
        "the specification and passes all tests.\n\nQuestion: Add {two} numbers.\n\nYou will use the following starter "
        "code to write the solution to the problem and enclose your code within delimiters.\n"
        "```python\nclass Solution:\n    \n```\n\n")
    assert opened.question.endswith(
        "\n\nQuestion: Read two numbers.\n\n"
        "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the "
        "sample inputs). Enclose your code within delimiters as follows. Ensure that when the python program runs, it "
        "reads the inputs, runs the algorithm and writes output to STDOUT.\n"
        "```python\n# YOUR CODE HERE\n```\n\n")


def test_a_program_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    task = written(tmp_path, STARTED)
    problem, = task.problems()
    with Grader() as grader:
        grade = grader.grade_of(grader.submit(task, problem, "```python\nraise SystemExit\n```"))
    assert grade == Grade(None, vote=None, reason="code is not run: export it for its own runner")
    assert not task.graded and Benchmark("mine", task.path).graded
    assert [name for name, kind in KINDS.items() if not kind.graded] == ["code"]
    assert PUBLISHED["livecodebench"].kind == "code"


@pytest.mark.parametrize(("item", "why"), [
    ({"prompt": [{"value": "2+2?"}], "final_answer": "4"}, 'question 2: needs "prompt", and "final_answer" with'),
    ({**OPEN, "final_answer": {"question_id": 1, "starter_code": ""}}, 'question 2: needs "prompt"'),
    ({**OPEN, "final_answer": {"question_id": "1"}}, 'question 2: needs "prompt"'),
    ({**OPEN, "prompt": []}, 'question 2: needs "prompt"'),
    (STARTED, "question 2: question_id 3485 is there twice"),
])
def test_a_bad_file_is_refused_with_its_place(item: Any, why: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=why):
        written(tmp_path, STARTED, item).problems()


@pytest.mark.parametrize(("text", "program"), [
    ("So:\n```python\nprint(1)\n```\nThat is it.", "print(1)\n"),
    ("```python\nfirst()\n```\nNo:\n```python\nsecond()\n```", "second()\n"),
    ("```python\nfirst()\n```\nRun it:\n```\n$ python first.py\n```", "first()\n"),
    ("```python\nnever_closed()", ""), ("print(1)", ""), ("", "")])
def test_the_program_of_an_answer(text: str, program: str) -> None:
    assert code.program(text) == program


def test_export_is_what_the_runner_reads() -> None:
    samples = [("3485", "```python\na()\n```"), ("abc301_a", "I do not know."), ("3485", "```python\nb('ü')\n```")]
    exported = code.export(iter(samples))
    assert exported.isascii()
    assert json.loads(exported) == [{"question_id": "3485", "code_list": ["a()\n", "b('ü')\n"]},
                                    {"question_id": "abc301_a", "code_list": [""]}]
    assert json.loads(code.export([])) == []
