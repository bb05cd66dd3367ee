"""`ledlocal lens`: what every layer says while a model thinks."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ledlocal.commands.completion import models_and_files
from ledlocal.commands.session import start_engine
from ledlocal.values.errors import BadInput
from ledlocal.values.params import EngineOptions, Message, MethodName, TapName

if TYPE_CHECKING:
    from ledlocal.lens_report import Report
    from ledlocal.settings import Settings
    from ledlocal.terminal import Console

PROBLEMS = 64
"""Of a task, unless --limit says otherwise."""
PROMPT_ROOM = 2048
"""Tokens of context beside those that may be generated."""


@click.command()
@click.argument("model", required=False, shell_complete=models_and_files)
@click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="A prompt; repeatable.")
@click.option("-f", "--file", type=click.Path(path_type=Path), metavar="FILE", help="Prompts, one per line.")
@click.option("--task", metavar="NAME",
              help="Prompts of a task, as `ledlocal eval` has them. [puzzle for the demo model]")
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE", help="Questions of the task.")
@click.option("--limit", type=click.IntRange(1), metavar="N",
              help=f"The first N prompts only. [{PROBLEMS} of a task, else all]")
@click.option("-n", "--samples", type=click.IntRange(1, 65536), default=1, metavar="N", help="Replies per prompt. [1]")
@click.option("--method", type=click.Choice(get_args(MethodName)), default="standard",
              help="How tokens are drawn. [standard, temperature first]")
@click.option("--temp", type=float, metavar="T", help="Temperature. [file's, else 0.6]")
@click.option("-s", "--seed", type=click.IntRange(0, 2**64 - 1), default=0, metavar="N", help="[0]")
@click.option("--max-tokens", type=click.IntRange(1, 2**24), default=512, metavar="N",
              help="Most tokens per reply, thinking included. [512]")
@click.option("--phase", type=click.Choice(["thinking", "answer", "all"]), default="thinking",
              help="Which tokens count. [thinking]")
@click.option("-c", "--ctx-size", type=int, metavar="N", help="Context in tokens. [room for a prompt and the reply]")
@click.option("--batch", type=click.IntRange(1, 256), default=8, metavar="N",
              help="Replies side by side, each with a context of its own. [8]")
@click.option("-t", "--threads", type=int, metavar="N", help="CPU threads. [physical cores]")
@click.option("--tap", type=click.Choice([name for name in get_args(TapName) if name != "none"]), default="auto",
              help="How intermediate layers are read. [auto]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw into a new .svg or .png file.")
@click.option("--offline", is_flag=True, envvar="LEDLOCAL_OFFLINE", help="Never use the network.")
def lens(model: str | None, as_json: bool, plot: Path | None, **flags: Any) -> None:
    """Measure every layer of MODEL at the tokens of its own replies: entropy, coverage, confidence. [demo]

    Entropy and coverage per layer with and without the model's final norm, and how sure the final layer is:
    the observations behind Latent Exploration Decoding (arXiv 2602.01698, figures 2 and 4).
    """
    import sys

    from ledlocal.config import read_config
    from ledlocal.models import resolve
    from ledlocal.terminal import Console

    console = Console()
    settings = _settings(flags)
    if plot is not None:
        from ledlocal.lens_plot import require_plot

        require_plot(plot)
    location = resolve(model, offline=flags["offline"], aliases=read_config().models)
    asked = _prompts(flags, location.origin == "embedded")
    slots = min(flags["batch"], len(asked) * flags["samples"])
    options = _engine_options(location.path, slots, flags)
    report = _measure(options, settings, asked, flags, console)
    if plot is not None:
        from ledlocal.lens_plot import draw

        draw(report, plot)
    if as_json:
        click.echo(report.to_json())
    else:
        for line in report.lines():
            console.out.line(line)
    sys.stdout.flush()


def _measure(options: EngineOptions, settings: Settings, asked: list[tuple[str, str]], flags: dict[str, Any],
             console: Console) -> Report:
    """Sample and tally; `asked`: each prompt with the name of its stream of random numbers."""
    from ledlocal.digest import sha256_of_parts
    from ledlocal.evals.plan import FROZEN_DATE
    from ledlocal.lens import observe, summarize
    from ledlocal.lens_report import Report
    from ledlocal.stores.location import parts_of
    from ledlocal.values.events import Event, Finished, Notice, Token

    start, which, total = time.monotonic(), flags["phase"], len(asked) * flags["samples"]
    finishes: Counter[str] = Counter()
    tokens = 0
    with closing(start_engine(options)) as engine, console.waiting("sampling") as wait:
        for notice in engine.loaded.notices:
            console.note(notice)
        if which == "thinking" and engine.loaded.model.think_found == "none":
            raise BadInput(f"{options.model} has no thinking phase to measure; give --phase answer or --phase all")

        def seen(event: Event) -> None:
            nonlocal tokens
            if isinstance(event, Token):
                tokens += 1
            elif isinstance(event, Finished):
                finishes[event.finish] += 1
                wait.says(f"{finishes.total()} of {total} replies, {tokens} tokens")
            elif isinstance(event, Notice):
                console.note(event.text)

        requests = [replace(settings.request(engine.loaded, (Message("user", text),)), problem=name,
                            n=flags["samples"], date=FROZEN_DATE) for name, text in asked]
        # one more prompt than there are slots: it is read as soon as one is free
        at_once = -(-options.slots // flags["samples"]) + 1
        observations = summarize(observe(engine, requests, which, at_once, seen), engine.loaded.model.vocabulary)
    if not observations.tokens:
        raise BadInput(f"no {which} tokens among the {tokens} of {total} replies; give another --phase")
    digest = sha256_of_parts(parts_of(Path(options.model)))
    return Report(observations, engine.loaded, options, digest, which, requests, finishes, time.monotonic() - start)


def _settings(flags: dict[str, Any]) -> Settings:
    from ledlocal.settings import Settings

    # temperature first: p_top1 is then of the distribution that is drawn from, whatever the method
    settings = Settings(seed=flags["seed"], max_tokens=flags["max_tokens"]).with_value("order", "paper")
    settings = settings.with_value("method", flags["method"])
    if flags["temp"] is not None:
        settings = settings.with_value("temp", repr(flags["temp"]))
    settings.request(None)
    return settings


def _prompts(flags: dict[str, Any], demo: bool) -> list[tuple[str, str]]:
    """Names of random streams and prompts. Raises BadInput if there is none."""
    from ledlocal.evals.catalog import PUZZLE, task_of
    from ledlocal.text_file import read_text, user_path

    found = [(f"prompt {i}", text) for i, text in enumerate(flags["prompts"], 1)]
    if flags["file"] is not None:
        lines = read_text(flags["file"]).split("\n")
        found += [(f"line {i}", text) for i, text in enumerate(lines, 1) if text.strip()]
    data = flags["data"]
    task = flags["task"] or (data and data.stem) or (PUZZLE if demo and not found and flags["file"] is None else None)
    if task is not None:
        # named as in an evaluation, so that the same method draws the same replies there
        problems = task_of(task, {task: user_path(str(data))} if data else {}).problems()[:flags["limit"] or PROBLEMS]
        found += [(f"{task}/{problem.id}", problem.question) for problem in problems]
    if any(not text.strip() for _, text in found):
        raise BadInput("a prompt is empty")
    if not found:
        raise BadInput(f"{flags['file']}: there is no prompt in it" if flags["file"] is not None else
                       "what shall the model reply to? Give --prompt TEXT, --file FILE or --task NAME")
    return found[:flags["limit"]]


def _engine_options(path: Path, slots: int, flags: dict[str, Any]) -> EngineOptions:
    from ledlocal.runtime.header import read_header

    context = flags["ctx_size"]
    if context is None:
        header = read_header(path)
        trained = header.metadata.get(f"{header.architecture}.context_length")
        wanted = flags["max_tokens"] + PROMPT_ROOM
        context = min(trained, wanted) if isinstance(trained, int) else wanted
    # reproducible: the numbers must not depend on what is sampled side by side
    return EngineOptions(str(path), context=context, slots=slots, threads=flags["threads"],
                         tap=flags["tap"], lens=True, reproducible=True)
