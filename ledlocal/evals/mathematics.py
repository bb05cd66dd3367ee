"""Whether a text ends in the same mathematical answer as a known one: math-verify, as in the authors' evaluation."""

from __future__ import annotations

import logging
import re
from functools import cache

from ledlocal.evals.task import Grade

PROMPT = "Please reason step by step, and put your final answer within \\boxed{}.\n\n{question}"
"""The paper's (led/constants.py of the authors' repository)."""
SOLUTION = "\\boxed{{{}}}"

_NUMBER = r"(?:[1-9]\d{0,2}(?:,\d{3})+(?!\d)|[1-9]\d*|0)(?:\.\d+)?|\.\d+"
_ITEM = rf"[-+−]?\s*(?:\\?\$\s*)?(?>{_NUMBER})(?:/[1-9]\d*)?\s*(?:\\?%)?"
_NUMBERS = re.compile(rf"[(\[]?\s*{_ITEM}(?:\s*,\s*{_ITEM})*\s*[)\]]?")
_SIGNS = r"[\w\s+\-*/^(),.\[\]{}]"
_FORMULA = re.compile(rf"(?!.*[^\W\d_]{{2}})(?!.*[^\W\d_]\d){_SIGNS}*[\w)\]}}]\s*[+=^]\s*[\w({{\[-]{_SIGNS}*")
"""A sum, power or equation; no two letters side by side, no digit behind one (H2O)."""
_COMMAND = re.compile(r"\\[a-zA-Z]")
_WORDS = re.compile(r"\\(?:text|math|mbox|operatorname|ce(?![a-zA-Z]))|(?<![\\{a-zA-Z])[a-zA-Z]{3}")


def grade(gold: str, text: str) -> Grade:
    """What is in the last \\boxed{}, else the last formula or number, against the gold answer.

    Boxes side by side are one answer of several parts. Raises ValueError if the gold answer is no mathematics.
    Takes as long as sympy needs: to be called in a process that may be ended (ledlocal.evals.grading). math-verify's
    own time limit is off, since it calls what it did not finish wrong.
    """
    quiet()
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


def is_mathematics(answer: str) -> bool:
    """Whether a known answer is a number, a list of numbers, LaTeX, or a formula of single letters; in doubt not.

    math-verify takes letters for factors that may change places, and dates for differences: `silent` would be
    `listen`, and 2018 2024-01-05.
    """
    return bool(_NUMBERS.fullmatch(answer.strip()) or _FORMULA.fullmatch(answer.strip())
                or (_COMMAND.search(answer) and not _WORDS.search(answer)))


@cache
def quiet() -> None:
    """math-verify warns on every call without its time limit."""
    for name in ("math_verify.parser", "math_verify.grader", "math_verify.utils"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
