"""What a run would take, from two samples."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace

from ledlocal.evals.evaluation import jobs
from ledlocal.evals.plan import Plan
from ledlocal.evals.progress import duration
from ledlocal.evals.run import Questions, Subject
from ledlocal.runtime.plan import DEFAULT_CONTEXT
from ledlocal.stores.location import readable
from ledlocal.values.errors import BadInput
from ledlocal.values.events import Finished
from ledlocal.worker.client import Worker

MEASURED = 2
SCORE_BYTES = 400
"""A line of scores.jsonl and one of timings.jsonl."""


def forecast(plan: Plan, questions: Questions, subject: Subject) -> Iterator[str]:
    """Lines with tokens, time and disk. Raises BadInput if there is nothing to ask."""
    job = next(jobs(plan, questions.asked, {}), None)
    if job is None:
        raise BadInput("there is nothing to sample")
    samples = plan.samples * len(plan.arms) * sum(len(problems) for _, problems in questions.asked.values())
    context = subject.options.context or min(subject.trained, DEFAULT_CONTEXT)
    with Worker(replace(subject.options, slots=MEASURED, context=context)) as worker:
        began = time.perf_counter()
        request = replace(job, first=0, count=MEASURED).request(plan, worker.loaded)
        ends = [event for event in worker.generate(request) if isinstance(event, Finished)]
        took = time.perf_counter() - began
    tokens = sum(end.thinking_tokens + end.answer_tokens for end in ends)
    size = sum(len(json.dumps(asdict(end) | {"ids": ()})) for end in ends) / MEASURED + SCORE_BYTES
    problems = ", ".join(f"{len(asked)} of {name}" for name, (_, asked) in questions.asked.items())
    yield f"problems  {problems}"
    yield f"methods   {', '.join(f'{arm.method} at {arm.temperature:g}' for arm in plan.arms)}"
    yield f"samples   {samples}: {plan.samples} of each problem with each method"
    yield f"measured  {MEASURED} samples side by side: {tokens} tokens in {took:.1f} s, {tokens / took:.0f} tokens/s"
    yield f"tokens    about {tokens / MEASURED * samples:,.0f}"
    yield f"time      about {duration(took / MEASURED * samples)}; more samples side by side take less"
    yield f"disk      about {readable(round(size * samples))}"
