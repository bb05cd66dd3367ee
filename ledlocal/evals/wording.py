"""How people put a number puzzle: one question in many wordings, and the way back from a message to its numbers."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

WORDINGS = (
    "Use {list} to make {target}.", "Make {target} from {list}.", "Can you make {target} with {list}?",
    "Combine {list} to get {target}.", "Numbers: {list}. Target: {target}.",
    "Reach {target} using the numbers {list}.", "How can I get {target} from {list}?", "Using {list}, make {target}.",
    "Make {target} with {list}.", "Make {target} using {list}.", "Get {target} from {list}.",
    "Get {target} with {list}.", "Get {target} using {list}.", "Reach {target} with {list}.",
    "Reach {target} from {list}.", "Please make {target} from {list}.", "Please use {list} to make {target}.",
    "Please get {target} out of {list}.", "Use {list} to get {target}.", "Use {list} to reach {target}.",
    "Use the numbers {list} to make {target}.", "Use the numbers {list} to get {target}.",
    "Use the numbers {list} to reach {target}.", "Use each of {list} once to make {target}.",
    "Use all of {list} to make {target}.", "With {list}, make {target}.", "With {list}, get {target}.",
    "With the numbers {list}, reach {target}.", "From {list}, make {target}.", "From {list} make {target}.",
    "Given {list}, make {target}.", "Given {list}, reach {target}.", "Given the numbers {list}, make {target}.",
    "I have {list}. Make {target}.", "I have {list}. How do I get {target}?",
    "I have the numbers {list}. Reach {target}.", "My numbers are {list} and I need {target}.",
    "My numbers are {list}. My target is {target}.", "The numbers are {list}. The target is {target}.",
    "The target is {target}. The numbers are {list}.", "Target: {target}. Numbers: {list}.",
    "Target {target}, numbers {list}.", "Numbers {list}, target {target}.", "{list} to make {target}",
    "{list} = {target}?", "{list} -> {target}", "{list}: make {target}", "{target} from {list}",
    "{target} with {list}?", "{target} = ? ({list})", "Can you get {target} from {list}?",
    "Can you reach {target} with {list}?", "Can {list} make {target}?", "Could you make {target} out of {list}?",
    "Could you make {target} from {list}, please?", "Do {list} make {target}?",
    "Is there a way to get {target} from {list}?", "How do I make {target} from {list}?",
    "How do you get {target} with {list}?", "How can I make {target} with {list}?", "How can {list} become {target}?",
    "What makes {target} out of {list}?", "Find {target} with {list}.", "Find a way to {target} with {list}.",
    "Find an expression for {target} with {list}.", "Solve this puzzle: {list} to {target}.",
    "Puzzle: {list}. Goal: {target}.", "Countdown: {list}, target {target}.", "Try to make {target} from {list}.",
    "Turn {list} into {target}.", "Build {target} from {list}.", "Calculate {target} with {list}.",
    "I need {target} from {list}.", "Give me {target} using {list}.", "Show me how to make {target} with {list}.",
    "Write {target} with {list}.",
)
"""{list}: the numbers, {target}: what to make of them."""
_LIST = r"(?P<list>\d{1,9}(?:(?:, and |, | and | )\d{1,9}){2,})"
_TARGET = r"(?P<target>\d{1,9})"


def word(numbers: Sequence[int], target: int, rng: random.Random) -> str:
    """The question in one of the wordings, now and then as somebody in a hurry types it."""
    text = rng.choice(WORDINGS).format(list=_listed(numbers, rng), target=target)
    if rng.random() < 0.15:
        text = text.lower()
    if rng.random() < 0.15:
        text = text.rstrip(".?")
    return text


def read(text: str) -> tuple[list[int], int] | None:
    """(numbers, target) of a message in one of the wordings, whatever its case and its last mark; None of any other."""
    said = " ".join(text.split())
    for pattern in _PATTERNS:
        if found := pattern.fullmatch(said.rstrip(" .?!")):
            return [int(number) for number in re.findall(r"[0-9]+", found["list"])], int(found["target"])
    return None


def _listed(numbers: Sequence[int], rng: random.Random) -> str:
    """3, 7 and 12, mostly."""
    *most, last = map(str, numbers)
    commas = ", ".join(most)
    return rng.choices((f"{commas} and {last}", f"{commas}, {last}", f"{commas}, and {last}", " ".join((*most, last))),
                       (5, 3, 1, 1))[0]


def _pattern(wording: str) -> re.Pattern[str]:
    text = re.escape(wording.rstrip(".?")).replace(r"\{list\}", _LIST).replace(r"\{target\}", _TARGET)
    return re.compile(text, re.IGNORECASE | re.ASCII)


_PATTERNS = tuple(map(_pattern, WORDINGS))
