"""Programs as answers: asked for as in the paper, exported for LiveCodeBench's own runner, never run here.

    [{"prompt": [{"from": "user", "value": "Given an array ..."}],
      "final_answer": {"question_id": "3485", "starter_code": "class Solution: ..."}}, ...]
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ledlocal.evals.question_file import read_items
from ledlocal.evals.task import Grade, Problem
from ledlocal.values.errors import BadInput

PROMPT = ("You will be given a question (problem specification) and will generate a correct Python program that "
          "matches the specification and passes all tests.\n\nQuestion: {question}\n\n{rest}")
"""The paper's, as the two below (led/constants.py of the authors' repository, get_lcb_prompt)."""
STARTED = ("You will use the following starter code to write the solution to the problem and enclose your code within "
           "delimiters.\n```python\n{starter}\n```\n\n")
"""The rest, where there is code to begin with."""
OPEN = ("Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the "
        "sample inputs). Enclose your code within delimiters as follows. Ensure that when the python program runs, it "
        "reads the inputs, runs the algorithm and writes output to STDOUT.\n```python\n# YOUR CODE HERE\n```\n\n")
"""The rest, where there is none."""
NOT_RUN = "code is not run: export it for its own runner"

_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def problems(path: Path) -> Sequence[Problem]:
    """Of a file in the layout above; ids are its question_ids, and no answer is known. Raises BadInput."""
    found: dict[str, Problem] = {}
    for where, item in read_items(path):
        match item:
            case {"prompt": [{"value": str(question)}],
                  "final_answer": {"question_id": str(name), "starter_code": str(starter)}} if question and name:
                if name in found:
                    raise BadInput(f"{where}: question_id {name} is there twice")
                rest = STARTED.format(starter=starter) if starter else OPEN
                found[name] = Problem(name, PROMPT.format(question=question, rest=rest), "", "")
            case _:
                raise BadInput(f'{where}: needs "prompt", and "final_answer" with "question_id" and "starter_code"')
    return tuple(found.values())


def grade(_gold: str, _text: str) -> Grade:
    """Neither right nor wrong: what a model writes is not executed."""
    return Grade(None, None, NOT_RUN)


def program(text: str) -> str:
    """What is in the last ```python block, as in the authors' evaluation; empty if there is none."""
    blocks = _BLOCK.findall(text)
    return blocks[-1] if blocks else ""


def export(samples: Iterable[tuple[str, str]]) -> str:
    """Problem ids and answers -> what `python -m lcb_runner.runner.custom_evaluator --custom_output_file FILE` takes.

    [{"question_id": "3485", "code_list": ["..."]}, ...], a program per sample in their order, an empty one where an
    answer has none. The runner asks for every problem of its release and dates: for the paper's file that is
    `--release_version release_v5 --start_date 2024-08-01` (eval_relevant/eval_lcb.sh of the authors' repository).
    """
    programs: dict[str, list[str]] = {}
    for name, answer in samples:
        programs.setdefault(name, []).append(program(answer))
    return json.dumps([{"question_id": name, "code_list": codes} for name, codes in programs.items()], indent=1) + "\n"
