"""Prompts of a wished length, no two of which begin alike: nothing of one is still in the KV cache for another."""

from __future__ import annotations

from itertools import combinations, takewhile

from ledlocal.engine.engine import Engine
from ledlocal.values.params import Message, Request

_PARAGRAPH = ("The train leaves the station at a quarter past nine and reaches the river before noon. Three of the "
              "eleven passengers get off there, and the others go on to the sea. ")


class Prompts:
    """Made while the vocabulary is loaded, used afterwards."""

    def __init__(self, engine: Engine, question: str, count: int) -> None:
        """`count`: of prompts; a model without a chat template gets the question alone."""
        template = engine.loaded.model.chat_template
        request = Request(messages=(Message("user", question),)) if template else Request(prompt=question)
        self._question = engine.prompt_ids(request)
        self._beginnings = [engine.prompt_ids(Request(prompt=f"{number}. {_PARAGRAPH}")) for number in range(count)]
        # up to the first token that no other has: what a tokenizer makes of numbers, and of a beginning, differs
        self._head = 1 + max((sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
                              for a, b in combinations(self._beginnings, 2)), default=0)
        self.shortest = len(self._question) + self._head
        """Tokens of the shortest prompt."""

    def make(self, number: int, length: int) -> tuple[int, ...]:
        """`length` tokens that end with the question, or `shortest`."""
        beginning = self._beginnings[number]
        room = max(self._head, length - len(self._question))
        return (beginning * (room // len(beginning) + 1))[:room] + self._question
