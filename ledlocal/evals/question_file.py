"""Questions with answers in a file: the layout of the authors' datasets, or one JSON object per line.

    [{"prompt": [{"from": "user", "value": "What is 2+2?"}], "final_answer": "4"}, ...]      .json
    {"question": "What is 2+2?", "answer": "4"}                                              .jsonl, one per line
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ledlocal.text_file import read_text
from ledlocal.values.errors import BadInput


def read_questions(path: Path) -> Sequence[tuple[str, str]]:
    """Questions and their answers, in the file's order. Raises BadInput naming file and place."""
    return [_question(where, item) for where, item in read_items(path)]


def read_items(path: Path) -> Sequence[tuple[str, object]]:
    """Where each item is, as an error says it, and what JSON makes of it. Raises BadInput naming file and place."""
    found = list(_items(path, read_text(path)))
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


def _question(where: str, item: object) -> tuple[str, str]:
    match item:
        case {"prompt": [{"value": str(question)}], "final_answer": str(answer)}:
            pass
        case {"question": str(question), "answer": str() | int() | float() as answer}:
            pass
        case _:
            raise BadInput(f'{where}: needs "question" and "answer", or "prompt" and "final_answer"')
    if not question.strip() or not str(answer).strip():
        raise BadInput(f"{where}: the question or its answer is empty")
    return question, str(answer)
