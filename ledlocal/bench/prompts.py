"""Prompts of a wished length, no two of which begin alike: nothing of one is still in the KV cache for another."""

from __future__ import annotations

from ledlocal.engine.engine import Engine
from ledlocal.values.params import Message, Request

_PARAGRAPH = ("The train leaves the station at a quarter past nine and reaches the river before noon. Three of the "
              "eleven passengers get off there, and the others go on to the sea. ")


class Prompts:
    """Made while the vocabulary is loaded, used afterwards."""

    def __init__(self, engine: Engine, question: str, count: int) -> None:
        """`count`: of prompts; a model without a chat template gets the question alone."""
        template = engine.loaded.model.chat_template
        self._questions: list[tuple[int, ...]] = []
        self._beginnings: list[tuple[int, ...]] = []
        for number in range(count):
            text = f"{question} ({number})"
            request = Request(messages=(Message("user", text),)) if template else Request(prompt=text)
            self._questions.append(engine.prompt_ids(request))
            self._beginnings.append(engine.prompt_ids(Request(prompt=f"{number}. {_PARAGRAPH}")))
        self.longest = max(map(len, self._questions))
        """Tokens of the longest question."""

    def make(self, number: int, length: int) -> tuple[int, ...]:
        """At least `length` tokens that end with the question; a longer question is left whole."""
        question, beginning = self._questions[number], self._beginnings[number]
        room = max(0, length - len(question))
        return (beginning * (room // len(beginning) + 1))[:room] + question
