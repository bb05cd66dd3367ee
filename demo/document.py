"""What the model is shown: conversations about number puzzles, with thoughts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from demo.search import MOST_TRIES, NO, YES, Try, search
from demo.smalltalk import remark
from ledlocal.evals.puzzle import COUNTS, NUMBERS, TARGETS, held_out, pose
from ledlocal.evals.wording import word

THINK, END_THINK, TURN, END_TURN = "<think>", "</think>", "<|im_start|>", "<|im_end|>"
GAVE_UP = "I did not find it."
AGAIN = (
    "Try again.", "try again", "Try again", "Again.", "again", "Again", "Another way?", "Try once more.",
    "Once more, please.", "Please try again.", "Keep trying.", "Give it another try.", "One more time.",
    "Are you sure? Try again.", "Go on.", "Think again.", "Do it again.", "Can you try again?", "Another solution?",
    "Show me another way.",
)
_REMARKS, _AGAIN, _LATER, _BLIND = 0.06, 0.06, 0.15, 0.03
"""Shares: what is no puzzle, a second go at one, puzzles later in a conversation, targets drawn blindly."""
_LONG, _MANY = 1 / 3, 6
"""Share of documents, and fewest tries of theirs, that show how long one may search three numbers without trying
anything twice: other searches of so few numbers end too soon to teach it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt that ends where the model begins, with its puzzle."""

    prompt: str
    numbers: tuple[int, ...]
    target: int
    expected: str = ""
    """The answer, where it is no puzzle."""


@dataclass(frozen=True, slots=True)
class Document:
    """A prompt and a reply to learn."""

    prompt: str
    reply: str


def document(rng: random.Random) -> Document:
    """One of the training documents."""
    kind = rng.random()
    if kind < _REMARKS:
        return small_talk(rng)
    if kind < _REMARKS + _LONG:
        return _long(rng)
    asked = question(rng)
    return Document(asked.prompt, reply(asked, rng))


def small_talk(rng: random.Random) -> Document:
    """A remark that is no puzzle, first or later in a conversation."""
    message, thought, answer = remark(rng)
    return Document(chat([*_earlier(rng), message]), written(thought, answer))


def talk(rng: random.Random) -> Question:
    """What `small_talk` says, without the reply."""
    message, _, answer = remark(rng)
    return Question(chat([*_earlier(rng), message]), (), 0, answer)


def question(rng: random.Random) -> Question:
    """A puzzle of the seven eighths that are trained on, first or later in a conversation."""
    numbers, target = _puzzle(rng)
    asked = word(numbers, target, rng)
    if rng.random() < _AGAIN:
        answer = GAVE_UP if rng.random() < 1 / 2 else _solution(numbers, target, rng)
        turns = [asked, answer, rng.choice(AGAIN)]
    else:
        turns = [*_earlier(rng), asked]
    return Question(chat(turns), tuple(numbers), target)


def reply(asked: Question, rng: random.Random) -> str:
    """A thought that searches for a while, and what it comes to."""
    tries = list(islice(search(asked.numbers, asked.target, rng), rng.randint(2, MOST_TRIES)))
    return _searched(tries, asked.target)


def _long(rng: random.Random) -> Document:
    while True:
        numbers, target = [rng.choice(NUMBERS) for _ in range(COUNTS[0])], rng.choice(TARGETS)
        tries = list(islice(search(numbers, target, rng), MOST_TRIES))
        if len(tries) >= _MANY and not held_out(numbers, target):
            return Document(chat([*_earlier(rng), word(numbers, target, rng)]), _searched(tries, target))


def _searched(tries: Sequence[Try], target: int) -> str:
    lines = [f"{one.steps} {YES if one.value == target else NO}" for one in tries]
    found = bool(tries) and tries[-1].value == target
    return written("\n".join(lines), f"{tries[-1].expression}={target}" if found else GAVE_UP)


def chat(turns: Sequence[str]) -> str:
    """Messages, the user's first, as the chat template writes them, and the beginning of the model's turn."""
    said = "".join(f"{TURN}{('user', 'assistant')[i % 2]}\n{text}{END_TURN}\n" for i, text in enumerate(turns))
    return f"{said}{TURN}assistant\n"


def written(thought: str, answer: str) -> str:
    """A whole reply."""
    return f"{THINK}\n{thought}\n{END_THINK}\n\n{answer}{END_TURN}"


def _puzzle(rng: random.Random) -> tuple[list[int], int]:
    while True:
        numbers, target, _ = pose(rng)
        if rng.random() < _BLIND:
            target = rng.choice(TARGETS)
        if not held_out(numbers, target) and target not in numbers:
            return numbers, target


def _solution(numbers: Sequence[int], target: int, rng: random.Random) -> str:
    found = [one for one in search(numbers, target, rng) if one.value == target]
    return f"{found[0].expression}={target}" if found else GAVE_UP


def _earlier(rng: random.Random) -> list[str]:
    """What was said before: mostly nothing. The chat keeps no thoughts of earlier turns."""
    turns: list[str] = []
    while len(turns) < 6 and rng.random() < _LATER + 0.25 * bool(turns):
        if rng.random() < 0.3:
            message, _, answer = remark(rng)
        else:
            numbers, target = _puzzle(rng)
            message = word(numbers, target, rng)
            answer = GAVE_UP if rng.random() < 1 / 3 else _solution(numbers, target, rng)
        turns += [message, answer]
    return turns
