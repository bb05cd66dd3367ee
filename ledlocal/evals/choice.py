"""Multiple choice: the letter in the answer field."""

from __future__ import annotations

import re

from ledlocal.evals.task import Grade

PROMPT = ("Please solve the following multiple-choice question. Please show your choice in the answer field with only "
          'the choice letter, e.g.,"answer": "C".\n\n{question}')
"""The paper's (led/constants.py of the authors' repository)."""
SOLUTION = '"answer": "{}"'

_FIELD = re.compile(r"""
    \b(?i:answer)["'*_]*\s*[:=][\s*_]*
    (?:["'(\[]\s*([A-Ja-j])\b                  # in quotes or brackets
      |([A-Ja-j])(?=[\s.)*_]*(?:$|\n))          # alone on its line
      |([AI])(?=[).:])                          # an option's mark; in `Answer: I am sure` it is a word
      |([B-HJ])\b(?!'))""", re.VERBOSE)
_BOXED = re.compile(r"\\boxed\{\s*(?:\\(?:text|mathrm|mathbf|textbf)\{)?\s*\(?([A-Ja-j])\b")


def grade(gold: str, text: str) -> Grade:
    """The last answer field, else the last \\boxed{} letter."""
    letters = ["".join(found) for found in _FIELD.findall(text)] or _BOXED.findall(text)
    if not letters:
        return Grade(False, None)
    letter = letters[-1].upper()
    correct = letter == gold.strip().upper()
    return Grade(correct, gold if correct else letter)
