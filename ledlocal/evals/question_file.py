"""Questions with answers in a file: the layout of the authors' datasets, or one JSON object per line.

    [{"prompt": [{"from": "user", "value": "What is 2+2?"}], "final_answer": "4"}, ...]      .json
    {"question": "What is 2+2?", "answer": "4"}                                              .jsonl, one per line
    {"question": "Who wrote Emma?", "answer": ["Jane Austen", "Austen"], "kind": "text"}     more to say
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledlocal.evals.words import plain
from ledlocal.text_file import read_text
from ledlocal.values.errors import BadInput

STATED = ("text", "mathematics", "choice")
"""What a file may call an answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """One of a file."""

    text: str
    answers: tuple[str, ...]
    """All that are right, at least one."""
    kind: str = ""
    """One of STATED; empty: the file does not say."""


def read_questions(path: Path) -> Sequence[Question]:
    """In the file's order. Raises BadInput naming file and place, both where one question has different answers."""
    found: list[Question] = []
    first: dict[str, tuple[str, object]] = {}
    for where, item in read_items(path):
        question = _question(where, item)
        known = ({plain(answer) for answer in question.answers}, question.kind)
        before, same = first.setdefault(" ".join(question.text.split()), (where, known))
        if known != same:
            raise BadInput(f"{where}: asks the same as {before.removeprefix(f'{path}, ')}, and has another answer")
        found.append(question)
    return found


def read_items(path: Path) -> Sequence[tuple[str, object]]:
    """Where each item is, as an error says it, and what JSON makes of it. Raises BadInput naming file and place."""
    found = list(_items(path, read_text(path).removeprefix("\ufeff")))
    if not found:
        raise BadInput(f"{path}: there is no question in it")
    return found


def _items(path: Path, text: str) -> Iterator[tuple[str, object]]:
    if text.lstrip().startswith("["):
        items: Any = _parsed(path, text, "")
        yield from ((f"{path}, question {i}", item) for i, item in enumerate(items, 1))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{path}, line {number}", _parsed(path, line, f", line {number}")


def _parsed(path: Path, text: str, where: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}{where}: this is not JSON: {error}") from None


def _question(where: str, item: object) -> Question:
    match item:
        case {"prompt": [{"value": str(text)}], "final_answer": str(answer)}:
            answers = [answer]
        case {"question": str(text), "answer": str() | int() | float() as answer}:
            answers = [str(answer)]
        case {"question": str(text), "answer": [*several]} if all(isinstance(one, str | int | float)
                                                                  for one in several):
            answers = [str(one) for one in several]
        case _:
            raise BadInput(f'{where}: needs "question" and "answer", or "prompt" and "final_answer"')
    kind = item.get("kind", "") if isinstance(item, dict) else ""
    if kind not in ("", *STATED):
        raise BadInput(f'{where}: "kind" is one of {", ".join(STATED)}, not {json.dumps(kind)}')
    if not text.strip() or not answers or not all(map(plain, answers)):
        raise BadInput(f"{where}: the question or its answer is empty")
    return Question(text, tuple(answers), kind)
