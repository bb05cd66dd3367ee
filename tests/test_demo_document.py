"""The documents that the embedded model learns from, and how its replies are judged (extra `train`)."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.document import (
    AGAIN,
    END_THINK,
    END_TURN,
    GAVE_UP,
    Question,
    chat,
    document,
    question,
    small_talk,
    talk,
    written,
)
from demo.judge import Judgement, Outcome, judge
from demo.search import MOST_TRIES, identity, read_line, search
from demo.smalltalk import LIMITS, remark
from demo.tokenizer import Tokenizer, learn
from ledlocal.evals.puzzle import COUNTS, NUMBERS, TARGETS, VALUES, evaluate, held_out, pose
from ledlocal.evals.wording import read

SEEDS = st.integers(0, 2**32)
THREE = Question(chat(["Use 3, 7 and 12 to make 33."]), (3, 7, 12), 33)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return learn(1, documents=1500)


@given(SEEDS)
def test_a_search_is_right_in_every_step_and_repeats_nothing(seed: int) -> None:
    rng = random.Random(seed)
    numbers, target, _ = pose(rng)
    tries = list(search(numbers, target, rng))
    assert len({identity(one.steps) for one in tries}) == len(tries)
    for i, one in enumerate(tries):
        reading = read_line(f"{one.steps} no", numbers)
        assert reading.well_formed and reading.arithmetic and reading.value == one.value == evaluate(one.expression)
        assert one.value in VALUES
        assert sorted(map(int, re.findall(r"\d+", one.expression))) == sorted(numbers)
        assert (one.value == target) <= (i == len(tries) - 1)


def test_nine_of_ten_last_steps_come_as_near_as_they_can() -> None:
    """And of the rest what chance brings, about two in five."""
    rng, nearest = random.Random(1), []
    while len(nearest) < 2000:
        numbers, target, _ = pose(rng)
        for one in search(numbers, target, rng):
            a, sign, b = re.fullmatch(r"(\d+)([-+*])(\d+)=\d+", one.steps.split(",")[-1]).groups()  # type: ignore[union-attr]
            others = [value for other in "+-*" if (value := eval(f"{a}{other}{b}")) in VALUES]
            nearest.append(abs(eval(f"{a}{sign}{b}") - target) == min(abs(value - target) for value in others))
    assert 0.9 < sum(nearest) / len(nearest) < 0.98


@pytest.mark.parametrize("first, second, same", [
    ("3*7=21,21+12=33", "7*3=21,12+21=33", True),
    ("12-7=5,5*3=15", "12-7=5,5+3=8", False),
    ("7-3=4,12+4=16", "3-7=4,12+4=16", False),
    ("2+3=5,4*6=24,24+5=29", "4*6=24,2+3=5,5+24=29", True),
])
def test_what_counts_as_the_same_try(first: str, second: str, same: bool) -> None:
    assert (identity(first) == identity(second)) == same


@pytest.mark.parametrize("line, well_formed, arithmetic, value, verdict", [
    ("3*7=21,21+12=33 yes", True, True, 33, "yes"),
    ("3*7=22,22+12=34 no", True, False, 34, "no"),
    ("3*7=21 no", False, True, 21, "no"),
    ("3*7=21,21+12=33,33+3=36 no", False, True, 36, "no"),
    ("3+3=6,6*7=42 no", False, True, 6, "no"),
    ("3*7=21,21+12=33", False, True, None, None),
    ("3*7=21,21+12=33 maybe", False, True, None, None),
    ("yes", False, True, None, "yes"),
    ("3/7=0,0+12=12 no", False, True, None, "no"),
    ("7-12=-5,3-5=2 no", False, True, None, "no"),
    ("", False, True, None, None),
])
def test_how_a_line_is_read(line: str, well_formed: bool, arithmetic: bool, value: int | None,
                            verdict: str | None) -> None:
    reading = read_line(line, (3, 7, 12))
    assert (reading.well_formed, reading.arithmetic, reading.verdict) == (well_formed, arithmetic, verdict)
    assert reading.value == value


def puzzles_of(prompt: str) -> list[tuple[list[int], int]]:
    """Numbers and target of every puzzle that a conversation asks."""
    return [found for said in re.findall(r"<\|im_start\|>user\n(.*)<\|im_end\|>", prompt) if (found := read(said))]


def can_be_asked(numbers: list[int], target: int) -> bool:
    """Whether a puzzle is within the model's limits."""
    return len(numbers) in COUNTS and set(numbers) <= set(NUMBERS) and target in TARGETS


@given(SEEDS)
def test_questions_are_of_the_part_that_is_trained_on(seed: int) -> None:
    rng = random.Random(seed)
    asked = question(rng)
    assert not held_out(asked.numbers, asked.target)
    for prompt in (asked.prompt, talk(rng).prompt, document(rng).prompt, small_talk(rng).prompt):
        for found in puzzles_of(prompt):
            assert not can_be_asked(*found) or not held_out(*found)


def test_documents_are_what_they_should_be_made_of() -> None:
    rng = random.Random(1)
    kinds: Counter[str] = Counter()
    for _ in range(3000):
        one = document(rng)
        kinds["again"] += any(f"{text}<|im_end|>" in one.prompt for text in AGAIN)
        kinds["later"] += one.prompt.count("user\n") > 1
        kinds["gave up"] += GAVE_UP in one.reply
        kinds["puzzle"] += "=" in one.reply
        tries = len(re.findall(" (?:no|yes)\n", one.reply))
        kinds["long search of three"] += tries >= 6 and len(puzzles_of(one.prompt)[-1][0]) == 3
    assert 1000 < kinds["long search of three"] < 1300
    assert 70 < kinds["again"] < 260 and 450 < kinds["later"] < 900
    assert 1400 < kinds["gave up"] < 2100 and kinds["puzzle"] > 2700


def test_what_is_no_puzzle_gets_a_friendly_answer() -> None:
    rng = random.Random(2)
    said = [remark(rng) for _ in range(3000)]
    assert len({message for message, _, _ in said}) > 1500
    assert len({answer for _, _, answer in said}) == 6
    for message, _, answer in said:
        found = read(message)
        assert (answer == LIMITS) == (found is not None and not can_be_asked(*found))
    assert small_talk(rng).reply.count(END_THINK) == 1


def judged(thought: str, answer: str, tokenizer: Tokenizer, asked: Question = THREE) -> Judgement:
    return judge(asked, tokenizer.encode(written(thought, answer)), tokenizer)


@settings(max_examples=60)
@given(SEEDS)
def test_a_document_is_without_fault(tokenizer: Tokenizer, seed: int) -> None:
    rng = random.Random(seed)
    one = document(rng)
    text, found = one.reply, puzzles_of(one.prompt)
    if "=" not in text.split("\n")[1]:
        return  # small talk
    asked = Question(one.prompt, tuple(found[-1][0]), found[-1][1])
    ids = tokenizer.encode(text)
    verdict = judge(asked, ids, tokenizer)
    assert tokenizer.decode(ids) == text
    assert verdict.outcome is (Outcome.GAVE_UP if GAVE_UP in text else Outcome.SOLVED)
    assert not verdict.faults and len(verdict.failed) == len(verdict.choices) == len(ids)
    assert 1 <= verdict.tries <= MOST_TRIES


GOOD = "12-7=5,5*3=15 no"
FOUND = "7*3=21,21+12=33 yes"


@pytest.mark.parametrize("thought, answer, outcome, counts, blamed", [
    (FOUND, "(7*3)+12=33", Outcome.SOLVED, {}, ""),
    (GOOD, GAVE_UP, Outcome.GAVE_UP, {}, ""),
    (GOOD, "(7*3)+12=34", Outcome.FALSE, {}, ""),
    (f"{GOOD}\n{GOOD}", GAVE_UP, Outcome.GAVE_UP, {"repeated": 1}, "-7=5,5*3=15 no\n"),
    (f"{GOOD}\n12-7=5,3*5=15 no\n{FOUND}", "(7*3)+12=33", Outcome.SOLVED, {"repeated": 1}, "-7=5,3*5=15 no\n"),
    ("12+7=18,18-3=15 no", GAVE_UP, Outcome.GAVE_UP, {"wrong_arithmetic": 1}, "+7=18,18-3=15 no\n"),
    ("12-7=5,5*3=15 yes", "(12-7)*3=33", Outcome.FALSE, {"wrong_verdict": 1, "false_yes": 1},
     "-7=5,5*3=15 yes\n"),
    ("7*3=21,21+12=33 no", GAVE_UP, Outcome.GAVE_UP, {"wrong_verdict": 1}, "*3=21,21+12=33 no\n"),
    ("7*3=21 no", GAVE_UP, Outcome.GAVE_UP, {"malformed": 1}, "7*3=21 no\n"),
    ("3*11=33 yes", GAVE_UP, Outcome.GAVE_UP, {"malformed": 1, "wrong_verdict": 1, "false_yes": 1}, "3*11=33 yes\n"),
    ("7+12=20,20+13=33 yes", GAVE_UP, Outcome.GAVE_UP,
     {"malformed": 1, "wrong_arithmetic": 1, "wrong_verdict": 1, "false_yes": 1},
     "7+12=20,20+13=33 yes\n"),
    ("3*11=33 no", GAVE_UP, Outcome.GAVE_UP, {"malformed": 1}, "3*11=33 no\n"),
    ("so so", GAVE_UP, Outcome.GAVE_UP, {"malformed": 1}, "so so\n"),
    (f"{FOUND}\n{GOOD}", "(7*3)+12=33", Outcome.SOLVED, {}, f"{GOOD}\n"),
    ("This is not a puzzle.", "I only solve number puzzles.", Outcome.FALSE, {"malformed": 1},
     "This is not a puzzle.\n"),
])
def test_how_a_reply_is_judged(tokenizer: Tokenizer, thought: str, answer: str, outcome: Outcome,
                               counts: dict[str, int], blamed: str) -> None:
    verdict = judged(thought, answer, tokenizer)
    assert verdict.outcome is outcome
    names = ("malformed", "wrong_arithmetic", "wrong_verdict", "false_yes", "repeated")
    assert {name: getattr(verdict, name) for name in names if getattr(verdict, name)} == counts
    ids = tokenizer.encode(written(thought, answer))
    assert tokenizer.decode(i for i, fault in zip(ids, verdict.at_fault, strict=True) if fault) == blamed
    assert verdict.faults == blamed.count("\n")


def test_a_reply_that_is_cut_off_is_unfinished_and_its_last_line_is_not_blamed(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(f"<think>\n{GOOD}\n12+7=20,20")
    verdict = judge(THREE, ids, tokenizer)
    assert verdict.outcome is Outcome.UNFINISHED and verdict.tries == 1 and not verdict.faults


def test_every_token_knows_how_many_tries_failed_before_its_own(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(written(f"{GOOD}\n12+7=19,19-3=16 no\n{FOUND}\n{GOOD}", "(7*3)+12=33"))
    verdict = judge(THREE, ids, tokenizer)
    said = [tokenizer.decode([token for token, failed in zip(ids, verdict.failed, strict=True) if failed == i])
            for i in range(max(verdict.failed) + 1)]
    assert said == [f"<think>\n{GOOD}\n", "12+7=19,19-3=16 no\n",
                    f"{FOUND}\n{GOOD}\n</think>\n\n(7*3)+12=33<|im_end|>"]


def test_a_line_that_ends_with_the_thought_is_judged(tokenizer: Tokenizer) -> None:
    verdict = judge(THREE, tokenizer.encode(f"<think>\n{FOUND}</think>\n\n(7*3)+12=33<|im_end|>"), tokenizer)
    assert (verdict.tries, verdict.malformed, verdict.false_yes) == (1, 1, 1) and verdict.outcome is Outcome.SOLVED


def test_what_is_no_puzzle_has_its_answer(tokenizer: Tokenizer) -> None:
    asked = talk(random.Random(1))
    assert asked.expected
    for answer, outcome in ((asked.expected, Outcome.SOLVED), ("(7*3)+12=33", Outcome.FALSE)):
        verdict = judge(asked, tokenizer.encode(written("This is not a puzzle.", answer)), tokenizer)
        assert verdict.outcome is outcome and not verdict.faults and not verdict.tries


def test_choices_are_what_nothing_determines(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(written(f"{GOOD}\n{FOUND}", "(7*3)+12=33"))
    verdict = judge(THREE, ids, tokenizer)
    chosen = [tokenizer.decode([token]) for token, choice in zip(ids, verdict.choices, strict=True) if choice]
    assert chosen == ["12", "-", "7", "*", "7", "*", "3", "+"]  # of the last step the sign: the rest is what is left


@settings(max_examples=200)
@given(st.text() | st.lists(st.sampled_from([
    "<think>", END_THINK, END_TURN, "\n", ",", "=", "3*7=21", "7*3=21,", "21+12=33", "12+21=33", "12-7=5,5*3=15", " no",
    " yes", GAVE_UP, "(3*7)+12=33"])).map("".join))
def test_any_reply_is_judged(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    verdict = judge(THREE, ids, tokenizer)
    assert len(verdict.failed) == len(ids) == len(verdict.choices)
    assert (verdict.outcome is Outcome.UNFINISHED) == (ids[-1:] != [tokenizer.id(END_TURN)])


@given(st.text())
def test_bytes_come_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_numbers_of_a_puzzle_are_one_token_each(tokenizer: Tokenizer) -> None:
    assert all(len(tokenizer.encode(str(value))) == 1 for value in VALUES)
