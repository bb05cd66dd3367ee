"""Multiple choice: the letter in the answer field, or what the authors' evaluation takes for it."""

from __future__ import annotations

import re

from ledlocal.evals.mathematics import quiet
from ledlocal.evals.task import Grade

PROMPT = ("Please solve the following multiple-choice question. Please show your choice in the answer field with only "
          'the choice letter, e.g.,"answer": "C".\n\n{question}')
"""The paper's (led/constants.py of the authors' repository)."""
SOLUTION = "Answer: {}"
"""Not in the field that the prompt asks for: `grade_whole` does not see a letter in quotes."""

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
    return _judged(gold, letter)


def grade_whole(gold: str, text: str) -> Grade:
    """As the authors judge a whole completion: the letter A ... D that math-verify finds in it, the article A, too.

    Their MQAEvaluator.rule_judge (eval_relevant/matheval.py of AlbertTan404/Latent-Exploration-Decoding at f3b7fc7):
    the last letter that follows `final answer is`, else `answer:`, else `answer`, else the one that the text begins
    with, else the last one. It has to stand between spaces: in `"answer": "C"`, which the prompt asks for, there is
    none.
    """
    quiet()
    from math_verify import StringExtractionConfig, parse

    found = parse(text, [StringExtractionConfig()], parsing_timeout=None, raise_on_error=True)
    return _judged(gold, str(found[0]).upper()) if found else Grade(False, None)


def _judged(gold: str, letter: str) -> Grade:
    correct = letter == gold.strip().upper()
    return Grade(correct, gold if correct else letter)
