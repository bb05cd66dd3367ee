"""What a run would take, from a few samples."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial

from ledlocal.evals.evaluation import jobs
from ledlocal.evals.grading import Grader
from ledlocal.evals.plan import Plan
from ledlocal.evals.progress import duration
from ledlocal.evals.run import Questions, Subject, require_answers
from ledlocal.runtime.plan import DEFAULT_CONTEXT
from ledlocal.stores.location import readable
from ledlocal.values.errors import BadInput
from ledlocal.values.events import Finished
from ledlocal.values.params import Request
from ledlocal.worker.client import Worker

MEASURED = 4
"""Samples, of problems and methods all over the run: lengths differ widely."""
SCORE_BYTES = 400
"""A line of scores.jsonl and one of timings.jsonl."""


def forecast(plan: Plan, questions: Questions, subject: Subject) -> Iterator[str]:
    """Lines with tokens, time and disk. Raises BadInput as the run would."""
    with Grader() as grader:
        require_answers(grader, questions)
    whole = list(jobs(plan, questions.asked, {}))
    if not whole:
        raise BadInput("there is nothing to sample")
    chosen = [whole[(2 * i + 1) * len(whole) // (2 * MEASURED)] for i in range(MEASURED)]
    samples = plan.samples * len(plan.arms) * sum(len(problems) for _, problems in questions.asked.values())
    context = subject.options.context or min(subject.trained, DEFAULT_CONTEXT)
    with Worker(replace(subject.options, slots=MEASURED, context=context)) as worker, ThreadPoolExecutor(
            MEASURED) as threads:
        began = time.perf_counter()
        requests = [replace(job, first=i % plan.samples, count=1).request(plan, worker.loaded)
                    for i, job in enumerate(chosen)]
        ends = list(threads.map(partial(_end, worker), requests))
        took = time.perf_counter() - began
    lengths = [end.thinking_tokens + end.answer_tokens for end in ends]
    tokens = sum(lengths)
    size = sum(len(json.dumps(asdict(end) | {"ids": ()})) for end in ends) / MEASURED + SCORE_BYTES
    problems = ", ".join(f"{len(asked)} of {name}" for name, (_, asked) in questions.asked.items())
    yield f"problems  {problems}"
    yield f"methods   {', '.join(f'{arm.method} at {arm.temperature:g}' for arm in plan.arms)}"
    yield f"samples   {samples}: {plan.samples} of each problem with each method"
    yield (f"measured  {MEASURED} samples side by side, of {min(lengths)} to {max(lengths)} tokens: {tokens} tokens in "
           f"{took:.1f} s, {tokens / took:.0f} tokens/s")
    most = min(plan.max_tokens or context, context) * samples
    yield f"tokens    about {tokens / MEASURED * samples:,.0f}, at most {most:,}: a few samples tell little"
    yield f"time      about {duration(took / MEASURED * samples)}; more samples side by side take less"
    yield f"disk      about {readable(round(size * samples))}"


def _end(worker: Worker, request: Request) -> Finished:
    return next(event for event in worker.generate(request) if isinstance(event, Finished))
