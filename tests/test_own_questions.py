"""Questions of one's own: what is mathematics, what are words, and which answers are right."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ledlocal.evals import mathematics, words
from ledlocal.evals.benchmark import OWN_KINDS, Benchmark
from ledlocal.evals.catalog import data_sha256, judge_of, task_of
from ledlocal.evals.choice import grade_whole
from ledlocal.evals.grading import Grader, require_sound
from ledlocal.evals.mathematics import is_mathematics
from ledlocal.evals.question_file import STATED
from ledlocal.evals.run_folder import read_problems, to_lines
from ledlocal.evals.task import Grade, Problem
from ledlocal.evals.words import NOTHING, plain
from ledlocal.values.errors import BadInput

MATHEMATICS = r"""
5 | -5 | −5 | +5 | 0 | 2024 | 12,000 | 1,200.50 | 3.14 | .5 | 50\% | 50% | 1/2 | -1/2 | $5 | \$12,000 | 10^5
1.5 \times 10^{-3} | \frac{1}{2} | 1\frac{1}{2} | \sqrt{2} | 2\pi r | \infty | x+1 | 3R^2 | x = 3 | 3+4
y = 2x + 1 | x^2+x*y+y^2 | e^x | 2+3i | x \geq 3 | x \in [-2,7] | $\frac{1}{2}$ | (1, 2) | [0, 1) | 1, -2 | 3, 5, 7
\left( 3, \frac{\pi}{2} \right) | \begin{pmatrix}1\\2\end{pmatrix} | 90^\circ
"""
WORDS = r"""
listen | Paris | yes | True | Mr. X | twenty-one | 12 apples | 5 million | Room 5 | Apollo 11 | x equals 3 | on-off
and/or | 2024-01-05 | 01/05/2024 | 3/4/2024 | May 5 | 3 pm | 3pm | 3 p.m. | 16:30 | 12 noon | 1st | 21st century
Q1 2024 | H2O | H_2O | CO_2 | C_6H_{12}O_6 | NaCl | Na+ | Fe^{3+} | \mathrm{CO_2} | B12 | F-16 | 7A | 3D | 4-H | x1
0x1F | 007 | my_id | 1.2.3 | 192.168.0.1 | v1.2 | 555-1234 | (555) 123-4567 | 5-7 | 3 - 1 | 1914–1918 | 5 km
5×5 | 3 x 4 | 1:2 | 1 1/2 | 12 000 | 1 2 3 | A | x | $x$ | I | IV | A, B | (a, b) | N/A | x-y | A+ | C++ | C#
tan | log in | R&D | i++ | a=1&b=2 | > 3 | <br> | a@b.c | e.g. | ? | \text{even} | \text{(C)} | 日本 | Δ
mc^2 squared | 2 \text{ hours}
"""
RIGHT = r"""
12,000 ~ 12000 | 12000 ~ 12,000 | $5 ~ 5 | 5 ~ \$5.00 | 5 ~ x = 5 | x = 3 ~ 3 | 1, 2 ~ 2, 1 | x+1 ~ 1+x
(1, 2) ~ (1,2) | 50\% ~ 0.5 | .5 ~ 0.5 | 1/2 ~ \frac12 | 2\pi r ~ 2 r \pi | y = 2x + 1 ~ y = 1 + 2x
listen ~ Listen | listen ~ \text{listen} | 5 km ~ 5 \text{ km} | x-y ~ X-Y
New York ~ \textbf{New  York}. | A ~ \text{(A)} | it's ~ it’s | 3 pm ~ 3\text{ PM} | 2024-01-05 ~ 2024‑01‑05
C++ ~ \text{C++} | my_id ~ \text{my\_id} | 5:0 ~ 5:0 | N/A ~ n/a | \text{even} ~ even | x ~ $x$
"""
WRONG = r"""
listen ~ silent | 2024-01-05 ~ 2018 | 2024-01-05 ~ 2024-05-01 | 3 pm ~ 3 | 3 pm ~ 3 am | 3:45 ~ 3 | 1:2 ~ \frac12
1:2 ~ 1/2 | 3/4/2024 ~ 3/8096 | 5-7 ~ -2 | 007 ~ 7 | H2O ~ H_2O | H_2O ~ OH_2 | 7A ~ 7 | 1st ~ 1
A+ ~ A | C++ ~ C | .NET ~ NET | N/A ~ A/N | x-y ~ -y+x | > 3 ~ 3 | 12 apples ~ 12 oranges | A, B ~ B, A
(a, b) ~ [a, b] | ? ~ ! | 5 km ~ 5 m | 5 km ~ 5 | .5 ~ 5 | -5 ~ 5 | 1/3 ~ 0.333 | x = 3 ~ y = 3
(1, 2) ~ (2, 1) | [0, 1) ~ [0, 1] | x+1 ~ x-1
"""
SENTENCE = st.text("abcXYZ059-/: ", min_size=1, max_size=12)


def cells(table: str) -> list[str]:
    return [cell.strip() for line in table.strip().splitlines() for cell in line.split(" | ")]


def judged(gold: str, text: str) -> Grade:
    return OWN_KINDS["mathematics" if is_mathematics(gold) else "text"].judge(gold, text)


def written(path: Path, *items: object) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


@pytest.mark.parametrize("gold", cells(MATHEMATICS))
def test_what_is_mathematics_passes_its_own_grader(gold: str) -> None:
    assert is_mathematics(gold)
    assert mathematics.grade(gold, f"\\boxed{{{gold}}}") == Grade(True, gold)


@pytest.mark.parametrize("gold", cells(WORDS))
def test_what_are_words(gold: str) -> None:
    assert not is_mathematics(gold)
    assert words.grade(gold, f"\\boxed{{{gold}}}") == Grade(True, gold)


@pytest.mark.parametrize("pair", cells(RIGHT))
def test_right_answers(pair: str) -> None:
    gold, answer = pair.split(" ~ ")
    assert judged(gold, f"First \\boxed{{0}}. So $\\boxed{{{answer}}}$.") == Grade(True, gold)


@pytest.mark.parametrize("pair", cells(WRONG))
def test_wrong_answers(pair: str) -> None:
    gold, answer = pair.split(" ~ ")
    grade = judged(gold, f"First \\boxed{{{gold}}}. So $\\boxed{{{answer}}}$.")
    assert grade.correct is False and grade.vote not in (None, gold)


def test_why_an_answer_is_wrong_is_said_where_it_does_not_show() -> None:
    assert judged("Paris", "It is not known.\nPerhaps Paris") == Grade(False, None, NOTHING)


@pytest.mark.parametrize(("text", "correct"), [
    ("Paris", True), ("**Paris.**", True), ("The answer is Paris.", True), ("So, the final answer is **Paris**.", True),
    ("I think.\n\n**Answer:** Paris", True), ("Answer:\n\nParis", True), ("Rome? No. The answer is: Paris", True),
    ("I doubt that the answer is Paris", False), ("The answer is not Paris", False),
    ("The answer is not\nParis", False), ("The answer is Paris?", False), ("Paris?", False),
    ("The answer is Paris. Or Rome.", False), ("", False),
    ("The answer is Paris.\nNo, Rome.", False), ("The answer is Rome. Paris", False), ("Or is it\nParis", False),
    ("The answer is Paris. \\boxed{Rome}", False), ("The answer is Paris. \\boxed{}", False),
    ("The answer is Paris. \\boxed{Paris", False), ("\\boxed{Rome} or \\boxed{Paris}", False),
    ("\\boxed{Rome}\n\n\\boxed{Paris}", True)])
def test_words_without_a_box(text: str, correct: bool) -> None:
    assert words.grade("Paris", text).correct is correct


@pytest.mark.parametrize(("text", "correct"), [
    ("\\boxed{1} and \\boxed{2}", True), ("$\\boxed{1}$, $\\boxed{2}$", True), 
    ("\\boxed{\\{1, 2\\}}", True)])
def test_boxes_of_mathematics(text: str, correct: bool) -> None:
    assert judged("1, 2", text).correct is correct


@given(SENTENCE, SENTENCE)
def test_a_text_is_not_another_one(gold: str, answer: str) -> None:
    same = [" ".join(re.sub(r"[\s:]+$", "", one).split()).casefold() or one.strip() for one in (gold, answer)]
    assume(all(same))
    assert words.grade(gold, f"\\boxed{{{answer}}}").correct is (same[0] == same[1])


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_compared(gold: str, answer: str) -> None:
    """The vote says which answer it was: the gold one only where it is right."""
    assume(plain(gold))
    assert plain(plain(gold)) == plain(gold)
    grade = words.grade(gold, answer)
    assert grade.correct is (grade.vote == gold)
    is_mathematics(gold)


@given(st.text("0123456789 +-*/=^().,x", max_size=6), st.from_regex(r"[b-dg-z]{4,8}", fullmatch=True),
       st.text("0123456789 +-*/=^().,x", max_size=6))
def test_no_word_is_mathematics(before: str, word: str, after: str) -> None:
    assert not is_mathematics(before + word + after)


def test_a_number_of_groups_takes_no_time() -> None:
    assert not is_mathematics("100,200," * 200 + "many") and is_mathematics("100,200," * 200 + "300")


def test_the_file_says_more(tmp_path: Path) -> None:
    path = written(tmp_path / "own.jsonl", {"question": "Capital?", "answer": ["Paris", "Paris, France"]},
                   {"question": "How many?", "answer": ["4", "four"]},
                   {"question": "Half?", "answer": ["1/2", "50%"]},
                   {"question": "Which version?", "answer": "1.10", "kind": "text"},
                   {"question": "Which product?", "answer": "ab", "kind": "mathematics"},
                   {"question": "A or B?", "answer": "B", "kind": "choice"}, {"question": "Is it?", "answer": True})
    task = Benchmark("own", path)
    problems = task.problems()
    assert [one.kind for one in problems] == ["text", "text", "mathematics", "text", "mathematics", "choice", "text"]
    answers = [("\\boxed{Paris, France}", "Paris"), ("\\boxed{Four}", "4"), ("\\boxed{50\\%}", "1/2"),
               ("\\boxed{1.1}", "1.1"), ("\\boxed{ba}", "ab"), ("Answer: B", "B"), ("\\boxed{true}", "True")]
    for problem, (answer, vote) in zip(problems, answers, strict=True):
        assert task.grade(problem, answer) == Grade(vote == problem.gold, vote)
    assert problems[5].question.endswith('"answer": "C".\n\nA or B?')
    assert problems[0].question.endswith("\\boxed{}.\n\nCapital?")
    with Grader() as grader:
        require_sound(grader, task, problems)
        with pytest.raises(BadInput, match=r"own 0002: its own solution .*text.* is graded"):
            require_sound(grader, task, [replace(problems[2], also=("\\text{}",))])


def test_a_run_is_judged_without_its_file(tmp_path: Path) -> None:
    path = written(tmp_path / "own.jsonl", {"question": "Version?", "answer": ["1.10", "1.10.0"], "kind": "text"})
    problems = Benchmark("own", path).problems()
    (tmp_path / "problems.jsonl").write_text(to_lines({"own": problems}))
    [problem] = read_problems(tmp_path)["own"]
    assert problem == problems[0] and hash(problem) == hash(problems[0])
    assert judge_of("own").grade(problem, "\\boxed{1.1}").correct is False
    assert judge_of("own").grade(problem, "\\boxed{1.10.0}") == Grade(True, "1.10")
    assert data_sha256(problems) == data_sha256([problem])
    assert len({data_sha256([one]) for one in (problem, replace(problem, kind=""), replace(problem, also=()))}) == 3


def test_a_problem_of_an_earlier_run_is_judged_by_its_answer(tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_text(json.dumps({"task": "own", "id": "0", "question": "?", "gold": "listen",
                                                         "solution": "\\boxed{listen}"}) + "\n")
    [problem] = read_problems(tmp_path)["own"]
    assert problem == Problem("0", "?", "listen", "\\boxed{listen}")
    assert judge_of("own").grade(problem, "\\boxed{silent}").correct is False


def test_a_wording_of_ones_own(tmp_path: Path) -> None:
    path = written(tmp_path / "own.jsonl", {"question": "{a}?", "answer": "b"})
    [problem] = task_of("own", {"own": path}, wording="In one word, no \\boxed{}: {question}").problems()
    assert problem.question == "In one word, no \\boxed{}: {a}?"
    with pytest.raises(BadInput, match=r"--wording needs \{question\} in it"):
        task_of("own", {"own": path}, wording="Think.")
    for name, data in (("puzzle", {}), ("livecodebench", {"livecodebench": path})):
        with pytest.raises(BadInput, match=f"--wording: {name} words its own questions"):
            task_of(name, data, wording="{question}")


@pytest.mark.parametrize(("text", "letter"), [
    ("Answer: C", "C"), ("The answer is C.", "C"), ("answer: **C**", "C"), ("Final answer is B", "B"),
    ('I think A is wrong. So "answer": "C"', "A"), ("Answer: C\n\nA cat", "C"), ("A cat, then B", "A"),
    ("Not A but B", "B"),
    ('"answer": "C"', None), ("\\boxed{C}", None), ("E", None), ("", None)])
def test_multiple_choice_as_in_the_paper(text: str, letter: str | None) -> None:
    assert grade_whole("C", text) == Grade(letter == "C", letter)


def test_the_grading_is_the_tasks(tmp_path: Path) -> None:
    path = written(tmp_path / "own.jsonl", {"question": "?", "answer": "C", "kind": "choice"})
    field = 'I think A is wrong.\n"answer": "C"'
    for name, data in (("own", {"own": path}), ("gpqa_diamond", {"gpqa_diamond": path})):
        for grading, letter in (("answer", "C"), ("paper", "A")):
            task = task_of(name, data, grading)
            [problem] = task.problems()
            assert task.grade(problem, field).vote == judge_of(name, grading).grade(problem, field).vote == letter
            with Grader() as grader:
                require_sound(grader, task, [problem])


def test_every_kind_that_is_stated_is_judged() -> None:
    assert set(OWN_KINDS) == set(STATED)
