"""Files of questions, and how answers to them are judged."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from worker_processes import linux

from ledlocal.evals import choice, mathematics
from ledlocal.evals.benchmark import Benchmark
from ledlocal.evals.grading import Grader, require_sound
from ledlocal.evals.puzzle import Puzzle
from ledlocal.evals.question_file import Question, read_questions
from ledlocal.evals.task import Grade, Problem
from ledlocal.values.errors import BadInput

AUTHORS = [{"prompt": [{"from": "user", "value": "What is $\\frac{1}{2} + \\frac{1}{4}$?"}],
            "final_answer": "\\frac{3}{4}"},
           {"prompt": [{"from": "user", "value": "How many {legs} has a spider?"}], "final_answer": "8"}]
LINES = '{"question": "2+2?", "answer": 4}\n\n{"question": "3+3?", "answer": "6", "more": 1}\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(AUTHORS, indent=4))
    return path


def test_both_layouts_are_read(file: Path, tmp_path: Path) -> None:
    assert read_questions(file)[1] == Question("How many {legs} has a spider?", ("8",))
    lines = tmp_path / "mine.jsonl"
    lines.write_text(LINES)
    assert read_questions(lines) == [Question("2+2?", ("4",)), Question("3+3?", ("6",))]
    lines.write_text("\ufeff" + LINES)  # as some editors begin a file
    assert len(read_questions(lines)) == 2


@pytest.mark.parametrize("text, why", [
    ("", "there is no question in it"),
    ("[]", "there is no question in it"),
    ("[1]", 'question 1: needs "question" and "answer"'),
    ("[{", "this is not JSON"),
    ('{"question": "a", "answer": "b"}\n{"question": "a"}', "line 2: needs"),
    ('{"question": "a", "answer": "b"}\n{', "line 2: this is not JSON"),
    ('{"question": " ", "answer": "b"}', "line 1: the question or its answer is empty"),
    ('{"question": "a", "answer": {"b": 1}}', "line 1: needs"),
    ('{"question": "a", "answer": ["b", null]}', "line 1: needs"),
    ('{"question": "a", "answer": []}', "line 1: the question or its answer is empty"),
    ('{"question": "a", "answer": ["b", "\\\\text{}"]}', "line 1: the question or its answer is empty"),
    ('{"question": "a", "answer": "b", "kind": "code"}',
     'line 1: "kind" is one of text, mathematics, choice, not "code"'),
    ('{"question": "a", "answer": "b"}\n\n{"question": " a", "answer": "c"}',
     "line 3: asks the same as line 1, and has another answer"),
    ('[{"question": "a", "answer": "b"}, {"question": "a", "answer": "b", "kind": "text"}]',
     "question 2: asks the same as question 1, and has another answer"),
    ("[" * 100_000, "this is not JSON"),
])
def test_a_bad_file_is_refused_with_its_place(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    path.write_text(text)
    with pytest.raises(BadInput, match=why) as refused:
        read_questions(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_the_papers_prompt(file: Path) -> None:
    problem = Benchmark("mine", file).problems()[1]
    assert problem.question == ("Please reason step by step, and put your final answer within \\boxed{}.\n\n"
                                "How many {legs} has a spider?")
    assert problem == Problem("0001", problem.question, "8", "\\boxed{8}", "mathematics")
    assert Benchmark("gsm8k", file, "mathematics").problems()[1] == replace(problem, kind="")


@pytest.mark.parametrize("text, correct", [
    ("So \\boxed{\\frac{3}{4}}.", True),
    ("It is 0.75", True),
    ("First \\boxed{1}. That is wrong. So \\boxed{\\dfrac{6}{8}}", True),
    ("\\boxed{3/4} but maybe 5", True),
    ("\\boxed{4/3}", False),
    ("I do not know.", False),
    ("", False),
])
def test_mathematics(text: str, correct: bool) -> None:
    grade = mathematics.grade("\\frac{3}{4}", text)
    assert grade.correct is correct and not grade.reason
    assert (grade.vote == "\\frac{3}{4}") is correct


def test_an_answer_key_that_is_no_mathematics_makes_nobody_wrong() -> None:
    with pytest.raises(ValueError, match="is no mathematics"):
        mathematics.grade("\\text{}", "\\boxed{5}")


def test_equal_wrong_answers_vote_alike() -> None:
    votes = {mathematics.grade("7", text).vote for text in ("\\boxed{5}", "So $5$.", "It is 5")}
    assert len(votes) == 1 and votes != {None}


@pytest.mark.parametrize("text, letter", [
    ('{"answer": "C"}', "C"), ('"answer": "B"... no, "answer": "C"', "C"), ("Answer: (c)", "C"),
    ("answer = D", "D"),
    ("\\boxed{\\text{A}}", "A"), ("\\boxed{B}", "B"), ("It is hard.", None), ("answer: Cats", None), ("", None),
    ("**Answer:** C", "C"), ("Answer: **C**", "C"), ('**"answer"**: "C"', "C"), ("Answer: C because it is", "C"),
    ("answer: c", "C"), ("Answer: C) green", "C"), ("answer: [b]", "B"), ("Answer: I.", "I"),
    ("Answer: I am sure: \\boxed{C}", "C"), ("Final answer: a matter of taste. \\boxed{B}", "B")])
def test_multiple_choice(text: str, letter: str | None) -> None:
    assert choice.grade("C", text) == Grade(letter == "C", letter)


@dataclass(frozen=True, slots=True)
class Hostile:
    """A task whose grader does what the answer says."""

    name: str = "hostile"

    def problems(self) -> tuple[Problem, ...]:
        return (Problem("0", "?", "right", "right"),)

    def grade(self, problem: Problem, answer: str) -> Grade:
        if answer == "sleep":
            time.sleep(60)
        if answer == "die":
            os._exit(1)
        if answer == "fill":
            bytearray(8 << 30)
        if answer == "raise":
            raise ArithmeticError("no")
        return Grade(answer == problem.gold, answer or None)


@linux
def test_what_cannot_be_graded_is_not_wrong() -> None:
    """Each in its own process; the ones behind it are graded as ever."""
    task, problem = Hostile(), Hostile().problems()[0]
    with Grader(limit_s=2) as grader:
        answers = ("sleep", "die", "fill", "raise", "right", "x")
        asked = {answer: grader.submit(task, problem, answer) for answer in answers}
        grades = {answer: grader.grade_of(future) for answer, future in asked.items()}
    assert grades == {
        "sleep": Grade(None, None, "no grade after 2 s"), "die": Grade(None, None, "the grader's process died"),
        "fill": Grade(None, None, "MemoryError: "), "raise": Grade(None, None, "ArithmeticError: no"),
        "right": Grade(True, "right"), "x": Grade(False, "x")}


def test_a_task_is_sound_before_it_is_run(file: Path) -> None:
    with Grader(2) as grader:
        for task in (Puzzle(), Benchmark("mine", file), Benchmark("letters", file, "choice")):
            if task.name == "letters":
                with pytest.raises(BadInput, match="letters 0000: its own solution"):
                    require_sound(grader, task, task.problems())
            else:
                require_sound(grader, task, task.problems())
