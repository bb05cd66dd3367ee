"""Whether a text ends in the same mathematical answer as a known one: math-verify, as in the authors' evaluation."""

from __future__ import annotations

import logging
from functools import cache

from ledlocal.evals.task import Grade

PROMPT = "Please reason step by step, and put your final answer within \\boxed{{}}.\n\n{question}"
"""The paper's (led/constants.py of the authors' repository)."""
SOLUTION = "\\boxed{{{}}}"


def grade(gold: str, text: str) -> Grade:
    """What is in the last \\boxed{}, else the last formula or number, against the gold answer.

    Boxes side by side are one answer of several parts. Raises ValueError if the gold answer is no mathematics.
    Takes as long as sympy needs: to be called in a process that may be ended (ledlocal.evals.grading). math-verify's
    own time limit is off, since it calls what it did not finish wrong.
    """
    _quiet()
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    wanted = parse(f"\\boxed{{{gold}}}", parsing_timeout=None, raise_on_error=True)
    if not wanted:
        raise ValueError(f"the known answer {gold!r} is no mathematics")
    found = parse(text, [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()],
                  parsing_timeout=None, raise_on_error=True)
    if not found:
        return Grade(False, None)
    correct = bool(verify(wanted, found, timeout_seconds=None, raise_on_error=True))
    return Grade(correct, gold if correct else str(found[-1]))


@cache
def _quiet() -> None:
    """math-verify warns on every call without its time limit."""
    for name in ("math_verify.parser", "math_verify.grader", "math_verify.utils"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
