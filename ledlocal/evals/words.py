"""Whether a text ends in the same words as a known one: names, dates, times, identifiers, letters, sentences."""

from __future__ import annotations

import re
import unicodedata

from ledlocal.evals.task import Grade

NOTHING = "no \\boxed{}, and no last line `the answer is ...`"
"""Reason where nothing was said that could be right."""

_BOX = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"(?<!\\)[{}]")
_BESIDE = re.compile(r"[\s$]*(?:,|,?\s*and|,?\s*or)[\s$]*")

_STATED = re.compile(r"""
    (?s:.*)(?:\A|\n|[.!?]\s)[\s>\#]*
    (?:(?:so|thus|hence|therefore)\b,?\s*)?(?:(?:the|my|our)\s+)?(?:(?:final|correct|right)\s+)?
    answer\s*(?:\bis\b|[:=])[\s:]*([^\n]+)""", re.VERBOSE | re.IGNORECASE)
_STATEMENT = 1000
"""Characters; a last line that is longer states nothing."""

_ALIKE = str.maketrans(dict.fromkeys("‘’‚", "'") | dict.fromkeys("“”„«»", '"') | dict.fromkeys("‐‑‒–—−", "-"))
_STEPS = [(re.compile(pattern, re.DOTALL), to) for pattern, to in (
    (r"\\(?:text\w*|math(?:rm|bf|it|sf|tt)|mbox|emph|operatorname|boxed)\s*\{([^{}]*)\}", r"\1"),
    (r"(?<!\\)\$([^\s$](?:[^$]*[^\s$])?)\$(?!\d)", r"\1"),  # a formula; `$5, not $6` is none
    (r"\\\((.*?)\\\)|\\\[(.*?)\\\]", r"\1\2"),
    (r"\\!", ""),
    (r"(?:\\[,;: ]|\s)+", " "),
    (r"\\([%&#_$])", r"\1"),
    (r"^ | $", ""),
    (r"(?<=[^\s.,;:!?])[.,;:!?]+$", ""),
    (r"""^(["'`]|\*+)([^"'`*]+)\1$""", r"\2"),
    (r"^\((\w+)\)$", r"\1"),
)]


def plain(text: str) -> str:
    """Without case, LaTeX around words, and what surrounds them: texts are the same answer if this is equal.

    `\\text{(C)}.` -> `c`, `"New  York"` -> `new york`. Doing it twice changes nothing.
    """
    before = None
    while text != before:
        before, text = text, unicodedata.normalize("NFC", text.translate(_ALIKE).casefold())
        for pattern, to in _STEPS:
            text = pattern.sub(to, text)
    return text


def boxed(text: str) -> str | None:
    """What the last \\boxed{} holds, empty if it has no end; None if there is none.

    Boxes with a comma or `and` between them are one answer of several parts: `\\boxed{1} and \\boxed{2}` -> `1, 2`.
    """
    parts: list[str] = []
    following = len(text)
    for box in reversed(list(_BOX.finditer(text))):
        end = _end(text, box.end())
        if parts and not _BESIDE.fullmatch(text, end + 1, following):
            break
        parts.insert(0, text[box.end():end])
        following = box.start()
    return ", ".join(parts) if parts else None


def _end(text: str, start: int) -> int:
    """Where the brace that was opened before `start` is closed; `start` if it never is."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return brace.start()
    return start


def stated(text: str) -> str | None:
    """What the last line says that the answer is, or all of a text of one line; None if neither.

    The statement begins a sentence and goes to the end: `I doubt that the answer is Paris`, `The answer is Paris?` and
    `The answer is Paris. Or Rome.` do not say Paris.
    """
    lines = [line.strip() for line in text.replace("**", "").splitlines() if line.strip()]
    last = "\n".join(lines[-2:])  # `Answer:` may stand on a line of its own
    if len(last) > _STATEMENT or last.endswith("?"):
        return None
    found = _STATED.fullmatch(last)
    return found[1] if found else last if len(lines) == 1 else None


def grade(gold: str, text: str) -> Grade:
    """What is in the last \\boxed{}, else what the last line states, against the gold answer."""
    said = boxed(text)
    if said is None:
        said = stated(text)
    found = plain(said or "")
    if not found:
        return Grade(False, None, NOTHING if said is None else "")
    correct = found == plain(gold)
    return Grade(correct, gold if correct else found)
