"""Replies to a number puzzle, token by token, as a real model gives them: what layers say fits to what was drawn."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from zlib import crc32

import numpy as np
from fake_engine import LOADED, FakeEngine, token

from ledlocal.methods.led import explore
from ledlocal.values.events import Candidates, Event, Exploration, Finished, Phase, Started, Token

QUESTION = "Use 3, 4, 5 and 7 to make 30."
FINAL = (0.44, 0.21, 0.10, 0.07, 0.05, 0.04, 0.03, 0.02)
"""What the final layer gives its candidates where a token is explored."""
LAYERS = (28, 26, 25, 24, 23, 22, 21, 20)
INSTEAD = {" Maybe": "Let So We First I Try One", " 35": "It That which 36 34 12", " too": "not which so it but that",
           "Wait": "So Then But Let Now Try What", " 4": "3 5 7 1 2 6 the"}
"""What else could have been said, where something is explored."""
BEGINNING = "Okay|,| I| need| 30| from| 3|,| 4|,| 5| and| 7|.|"
LED = BEGINNING + (
    " Maybe!| 5| *| 6|,| so| I| want| 6| from| 3|,| 4| and| 7|.\n|3| +| 4| is| 7|,| and| 7| *| 5| is| 35~|,| too!"
    "| much|.\n|Wait!|,| 7| -| 4~| is| 3|,| and| 3| +| 3| is| 6|.| So| (|7| -| 4| +| 3|)| *| 5| =| 30|.\n")
STANDARD = BEGINNING + (
    " Let| me| try| 5| *| 7|,| that| is| 35|.\n|35| -| 4| is| 31|,| 31| -| 3| is| 28|.| Not| 30|,| but| close|.\n")
"""Tokens; behind an explored one ~ if it came out as without exploring, ! if another one was drawn."""
ANSWER = "Two steps are enough:\n\n1. `7 - 4 + 3` is **6**\n2. `6 * 5` is **30**\n\n(7-4+3)*5=30"
WRONG = "The closest I found:\n\n5*7-4-3=28"


def engine() -> FakeEngine:
    """With a model as people have them."""
    return FakeEngine(replace(LOADED, model=replace(LOADED.model, name="Qwen3-1.7B", layers=28, context=8192)))


def reply_of(thought: str, answer: str, speed: float = 24.0) -> list[Event]:
    """A whole reply, `speed` in tokens per second."""
    thinking = [_token(text, "thinking", i) for i, text in enumerate(thought.split("|"), 1)]
    said = [_token(text, "answer", i) for i, text in enumerate(re.findall(r"\s*\S+", answer), len(thinking) + 2)]
    marker = token("", "thinking", marker=True)
    tokens = [replace(marker, i=0), *thinking, replace(marker, i=len(thinking) + 1), *said]
    explored = [one for one in thinking if one.explored]
    depths = [sum(one.depth == depth for one in explored) for depth in range(8)]
    text = "".join(one.text for one in thinking)
    end = Finished(1, 0, "stop", "", answer, text, tuple(one.id for one in tokens), 0, 24, len(thinking) + 2,
                   len(said), 0.2, len(tokens) / speed, Exploration(
                       len(explored), sum(one.changed for one in explored), tuple(depths), 0.9))
    return [Started(1, 0, tuple(range(24)), 0, 0.2), *tokens, end]


def tokens_of(events: list[Event]) -> list[Token]:
    """Without what is said around them."""
    return [event for event in events if isinstance(event, Token)]


def _token(text: str, phase: Phase, i: int) -> Token:
    """Surer or less sure, always the same way."""
    bare = text.rstrip("~!") if phase == "thinking" else text
    plain = replace(token(bare, phase, i), id=_id(bare), confidence=0.97 - 0.25 * abs(math.sin(1.7 * i)) ** 3,
                    entropy=0.05 + 0.9 * abs(math.sin(1.7 * i)) ** 3, u=((0.37 * i) % 0.6, (0.61 * i) % 1.0))
    if bare == text:
        return plain
    changed = text.endswith("!")
    candidates = _candidates(bare, 1 if changed else 0, i)
    depth = int(explore(np.array([candidates.posteriors])).depth[0])
    return replace(plain, explored=True, changed=changed, depth=depth, candidates=candidates, confidence=FINAL[0],
                   entropy=1.6 + 0.2 * math.sin(i), u=(0.47 + (0.37 * i) % 0.5, plain.u[1]))


def _candidates(text: str, place: int, i: int) -> Candidates:
    """The drawn token at a place among the others; lower layers know less, each in its way."""
    others = [" " * text.startswith(" ") + word for word in INSTEAD[text].split()]
    texts = [*others[:place], text, *others[place:]]
    while len(texts) < len(FINAL):
        texts.append(f" {len(texts)}")
    rows = [tuple(p * (1 - layer / 9) + layer / 90 * (1 + math.sin(i + 2.1 * k + 1.3 * layer)) ** 2
                  for k, p in enumerate(FINAL)) for layer in range(len(LAYERS))]
    return Candidates(tuple(map(_id, texts)), tuple(texts), LAYERS, tuple(rows),
                      tuple(explore(np.array([rows])).entropy[0].tolist()))


def _id(text: str) -> int:
    return crc32(text.encode()) % 100_000
