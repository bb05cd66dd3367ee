"""`ledlocal bench`: how fast a model speaks here, and what looking into its layers costs."""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ledlocal.bench.contender import BARE, DEFAULT, LED, STANDARD, contenders_of
from ledlocal.commands.completion import models_and_files
from ledlocal.values.errors import BadInput, LedlocalError, OutOfResources
from ledlocal.values.params import CacheType, EngineOptions, FlashAttention, TapName

if TYPE_CHECKING:
    from ledlocal.bench.plan import Plan
    from ledlocal.bench.report import Report
    from ledlocal.terminal import Console, Wait

MOST = 2**20
"""Tokens of a sequence: 256 sequences of them are still a number that llama.cpp can count."""
PUZZLE = "Use 2, 3, 8 and 10 to make 13."
"""For the demo model, which knows nothing else."""


@click.command()
@click.argument("model", required=False, shell_complete=models_and_files)
@click.option("--batch", default="1,2,4,8,16,32", metavar="N,...",
              help="Sequences side by side, 1 to 256. [1,2,4,8,16,32]")
@click.option("--methods", default=DEFAULT, metavar="METHOD,...",
              help="bare (llama.cpp's loop and samplers), backend (its samplers in the graph), standard, led (its own "
                   "coin), led:coin=P (explores at a share P), led:eager (projects every token). [all]")
@click.option("--tap", default="auto", metavar="TAP,...", help="Taps to compare: native, plugin, reference. [auto]")
@click.option("-r", "--rounds", type=click.IntRange(1), default=5, metavar="N",
              help="Everything is loaded anew in each. [5]")
@click.option("-n", "--n-gen", type=click.IntRange(1, MOST), default=32, metavar="N", help="Tokens per sequence. [32]")
@click.option("-p", "--n-prompt", type=click.IntRange(0, MOST), default=256, metavar="N",
              help="Tokens of the prompt in the phase prefill; 0: without it. [256]")
@click.option("-d", "--n-depth", type=click.IntRange(0, MOST), default=0, metavar="N",
              help="At least so many tokens before those that are timed. [a question's]")
@click.option("--question", metavar="TEXT", help="What the model thinks about. [about divisors]")
@click.option("-t", "--threads", type=click.IntRange(1), metavar="N", help="CPU threads. [physical cores]")
@click.option("-ngl", "--gpu-layers", type=click.IntRange(0), metavar="N", help="Layers on the GPU. [as many as fit]")
@click.option("-fa", "--flash-attn", type=click.Choice(get_args(FlashAttention)), default="auto", help="[auto]")
@click.option("-ctk", "--cache-type-k", type=click.Choice(get_args(CacheType)), default="f16", help="[f16]")
@click.option("-ctv", "--cache-type-v", type=click.Choice(get_args(CacheType)), default="f16", help="[f16]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="The same object into a new file.")
@click.option("--offline", is_flag=True, envvar="LEDLOCAL_OFFLINE", help="Never use the network.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def bench(model: str | None, as_json: bool, out: Path | None, quiet: bool, **flags: Any) -> None:
    """Time MODEL: ledlocal's engine beside llama.cpp's own loop, at several batch sizes. [demo]

    Ratios first: everything runs once per round, and ratios are of runs of the same round. What was measured is shown
    also when it is interrupted.
    """
    from ledlocal.bench.report import Report
    from ledlocal.runtime.build import survey
    from ledlocal.terminal import Console, leave_on_signals
    from ledlocal.text_file import require_new, write_whole

    console = Console(quiet=quiet)
    if out is not None:
        require_new(out)
    plan = _plan(model, flags)
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    report = Report(plan, survey(), _size(plan.options.model), busy)
    failure: BaseException | None = None
    leave_on_signals()
    try:
        _measure(report, console)
        if not report.runs:
            raise OutOfResources(f"nothing could be measured: {'; '.join(report.skipped) or 'no method ran'}")
    except (LedlocalError, KeyboardInterrupt, SystemExit) as error:  # nothing that was measured is lost
        failure = error
    for notice in report.notices:
        console.note(notice)
    if report.runs:
        text = report.to_json(complete=failure is None)
        if out is not None:
            write_whole(out, text + "\n")
        if as_json:
            click.echo(text)
        else:
            for line in report.lines():
                console.out.line(line)
        sys.stdout.flush()
    if failure is not None:
        raise failure


def _plan(model: str | None, flags: dict[str, Any]) -> Plan:
    from ledlocal.bench.plan import QUESTION, Plan
    from ledlocal.config import read_config
    from ledlocal.models import resolve

    location = resolve(model, offline=flags["offline"], aliases=read_config().models)
    question = flags["question"]
    if question is None:
        question = PUZZLE if location.origin == "embedded" else QUESTION
    if not question.strip():
        raise BadInput("--question is empty")
    options = EngineOptions(str(location.path), threads=flags["threads"], gpu_layers=flags["gpu_layers"],
                            flash_attention=flags["flash_attn"], cache_type_k=flags["cache_type_k"],
                            cache_type_v=flags["cache_type_v"])
    if flags["n_prompt"] == 1:
        raise BadInput("--n-prompt takes 0 or at least 2 tokens: the last one is decoded, not prefilled")
    return Plan(options, contenders_of(flags["methods"]), _batches(flags["batch"]), _taps(flags["tap"]),
                flags["rounds"], flags["n_gen"], flags["n_prompt"], flags["n_depth"], question)


def _batches(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 256 for part in parts) or len({*parts}) < len(parts):
        raise BadInput(f"--batch takes different numbers from 1 to 256, not {text!r}")
    return tuple(map(int, parts))


def _taps(text: str) -> tuple[TapName, ...]:
    known = {name: name for name in get_args(TapName) if name != "none"}
    parts = [part.strip() for part in text.split(",")]
    if not all(part in known for part in parts) or len({*parts}) < len(parts):
        raise BadInput(f"--tap takes different ones of {', '.join(known)}, not {text!r}")
    return tuple(known[part] for part in parts)


def _size(model: str) -> int:
    from ledlocal.stores.location import parts_of

    return sum(part.stat().st_size for part in parts_of(Path(model)))


def _measure(report: Report, console: Console) -> None:
    """Everything, then who takes how much memory."""
    from ledlocal.bench.process import measure

    plan, start = report.plan, time.monotonic()
    with console.waiting("loading") as wait:
        with closing(measure(plan)) as events:
            for event in events:
                report.take(event)
                if event["event"] == "run":
                    _tell(wait, report, start)
        for contender in plan.contenders:
            if contender.name in (BARE, STANDARD, LED) and report.runs:
                wait.says(f"memory of {contender.name}")
                report.peaks |= _peak(plan.alone(contender, min(run.batch for run in report.runs)))


def _peak(plan: Plan) -> dict[str, int]:
    from ledlocal.bench.process import measure
    from ledlocal.runtime.memory import HOST

    peaks = [event["bytes"][HOST] for event in measure(plan) if event["event"] == "memory"]  # none if it was refused
    return {plan.contenders[0].name: max(peaks)} if peaks else {}


def _tell(wait: Wait, report: Report, start: float) -> None:
    run = report.runs[-1]
    done = sum(one.phase == "decode" for one in report.runs)
    left = (time.monotonic() - start) * (report.plan.runs - done) / max(done, 1)
    time_left = "" if not run.round else f", {left / 60:.0f} min left" if left >= 60 else f", {left:.0f} s left"
    wait.says(f"round {run.round + 1} of {report.plan.rounds}: batch {run.batch}, {run.contender}, "
              f"{run.tokens / run.seconds:,.0f} tokens/s{time_left}")
