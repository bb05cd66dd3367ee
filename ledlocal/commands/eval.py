"""`ledlocal eval`: does a decoding method help on problems whose answers can be checked?"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ledlocal.commands.completion import models_and_files
from ledlocal.values.errors import BadInput, EngineDied, OutOfResources
from ledlocal.values.params import CacheType, FlashAttention, MethodName, Reasoning, TapName

if TYPE_CHECKING:
    from ledlocal.evals.plan import Plan
    from ledlocal.evals.run import Questions, Subject
    from ledlocal.evals.run_folder import RunFolder
    from ledlocal.terminal import Console


@click.command()
@click.argument("model", required=False, shell_complete=models_and_files)
@click.option("--task", "tasks", default="", metavar="NAME,...",
              help="puzzle, gym:NAME, gsm8k, math500, aime2024, aime2025, gpqa_diamond, livecodebench. [puzzle]")
@click.option("--data", multiple=True, metavar="[TASK=]FILE",
              help="Questions of a task, in the layout of the authors' files, or JSON lines of question and answer.")
@click.option("--wording", metavar="TEXT",
              help="How a question of a file is put, {question} standing for it. [as in the paper]")
@click.option("--methods", default="standard,led", metavar="METHOD,...",
              help="standard, led, control, each with settings: led:norm=on,d=4. [standard,led]")
@click.option("--control/--no-control", default=True,
              help="Beside each LED variant the same truncation without exploration. [on]")
@click.option("-n", "--samples", type=click.IntRange(1), default=16, metavar="N", help="Samples of a problem. [16]")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N problems of each task. [all]")
@click.option("--temp", type=float, default=0.6, metavar="T", help="Temperature. [0.6]")
@click.option("--sweep", multiple=True, metavar="NAME=V,V,...", help="Several values of temp, d or k.")
@click.option("--ablate", default="", metavar="NAME,...",
              help="Variants of LED, each one step away: think-only, exploit, topk, norm, layers.")
@click.option("-s", "--seed", type=click.IntRange(0, 2**64 - 1), default=0, metavar="N", help="Seed. [0]")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N",
              help="Most tokens of a sample, thinking included. [the context]")
@click.option("--reasoning", type=click.Choice(get_args(Reasoning)), default="auto", help="[auto]")
@click.option("--reasoning-budget", type=click.IntRange(0), metavar="N", help="End thinking after N tokens. [never]")
@click.option("--grading", type=click.Choice(["answer", "paper"]), default="answer",
              help="answer: what stands behind the thinking; paper: the whole completion. [answer]")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The run's folder. [runs/MODEL-TASKS]")
@click.option("--shard", default="1/1", metavar="I/N", help="Every N-th problem, for `ledlocal merge`. [1/1]")
@click.option("--dry-run", is_flag=True, help="Measure two samples, say what the run would take, and leave.")
@click.option("--batch", default="auto", metavar="auto|N", help="Samples side by side; auto: as many as fit. [auto]")
@click.option("-c", "--ctx-size", type=click.IntRange(16), metavar="N",
              help="Context of a sample in tokens. [trained, at most 32768]")
@click.option("-t", "--threads", type=click.IntRange(1), metavar="N", help="CPU threads. [physical cores]")
@click.option("-ngl", "--gpu-layers", type=click.IntRange(0), metavar="N", help="Layers on the GPU. [as many as fit]")
@click.option("-fa", "--flash-attn", type=click.Choice(get_args(FlashAttention)), default="auto", help="[auto]")
@click.option("-ctk", "--cache-type-k", type=click.Choice(get_args(CacheType)), default="f16", help="[f16]")
@click.option("-ctv", "--cache-type-v", type=click.Choice(get_args(CacheType)), default="f16", help="[f16]")
@click.option("--tap", type=click.Choice(get_args(TapName)), default="auto", help="[auto]")
@click.option("--chat-template-file", type=click.Path(path_type=Path), metavar="FILE", help="Replaces the file's own.")
@click.option("--think-tags", metavar="START,END", help="Thinking markers, if they are not found.")
@click.option("--offline", is_flag=True, help="Never use the network.")
@click.option("--json", "as_json", is_flag=True, help="summary.json on stdout instead of the table.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("--tui", is_flag=True, help="Watch it on a whole screen: samples under way, problems, curves, report.")
def eval(model: str | None, **flags: Any) -> None:
    """Sample problems with several decoding methods, judge the answers, and tell what the difference is worth. [demo]

    The methods share their random numbers, so they are compared problem by problem. The same command again goes on
    with a run that was cut short.
    """
    from ledlocal.evals import run
    from ledlocal.evals.report import write_report
    from ledlocal.evals.run_folder import RunFolder
    from ledlocal.terminal import Console, leave_on_signals, require_drawable

    if flags["tui"]:
        if flags["dry_run"] or flags["quiet"]:
            raise BadInput("--tui shows a run; --dry-run and --quiet have none to show")
        require_drawable("without --tui, progress goes into a pipe, too")
    console, model = Console(quiet=flags["quiet"]), model or "demo"
    files, names = _files(flags["data"], [name for name in flags["tasks"].split(",") if name])
    plan = _plan(names, flags)
    questions = run.questions(plan, files, flags["wording"])
    subject = _subject(model, plan, flags, console)
    if flags["dry_run"]:
        from ledlocal.evals.forecast import forecast

        for line in forecast(plan, questions, subject):
            console.out.line(line)
        return
    leave_on_signals()
    with RunFolder(flags["out"] or _folder(model, names)) as folder:
        console.info(f"run       {folder.path}")
        try:
            summary = _watched(folder, plan, questions, subject, console, flags["tui"])
        except (KeyboardInterrupt, SystemExit, EngineDied, OutOfResources):
            console.info(f"kept      {len(folder.samples())} samples; the same command goes on")
            raise
        write_report(folder.path)
        if flags["as_json"]:
            click.echo((folder.path / "summary.json").read_text(), nl=False)
        else:
            _tell(folder.path, summary, console)


def _watched(folder: RunFolder, plan: Plan, questions: Questions, subject: Subject, console: Console,
             tui: bool) -> dict[str, Any]:
    """The summary of a run that is watched while it goes. Raises LedlocalError, or KeyboardInterrupt."""
    from ledlocal.evals.live_table import LiveTable
    from ledlocal.evals.run import evaluate

    if not tui:
        table = LiveTable(plan, questions.problems, console)
        with table.shown():
            return evaluate(folder, plan, questions, subject, table)
    from ledlocal_tui.live_run import LiveRun
    from ledlocal_tui.screens.run import RunScreen
    from ledlocal_tui.viewer import Viewer

    live = LiveRun(plan, questions.problems,
                   lambda observer: evaluate(folder, plan, questions, subject, observer))
    try:
        Viewer(RunScreen(live, folder.path, live.cancel)).show()
    finally:
        with console.waiting("what is finished is kept"):  # no screen is to stand still for it
            live.end()
    return live.result()


def _tell(path: Path, summary: dict[str, Any], console: Console) -> None:
    """The numbers, what they are worth, and where to read on."""
    from ledlocal.evals.comparison import within
    from ledlocal.evals.report import caveats, said
    from ledlocal.evals.run import read_cells
    from ledlocal.evals.tables import summary_tables
    from ledlocal.tables import lines

    for line in lines(summary_tables(summary)):
        console.out.line(line)
    console.info()
    for sentence in [*caveats(summary), *filter(None, map(said, within(*read_cells(path))))]:
        console.info(sentence)
    console.info(f"report    {path / 'report.html'}; ledlocal compare {path}; ledlocal samples {path}")


def _files(data: tuple[str, ...], tasks: list[str]) -> tuple[dict[str, Path], list[str]]:
    """Files by task, and all tasks in order. Raises BadInput."""
    from ledlocal.text_file import user_path

    files: dict[str, Path] = {}
    for text in data:
        name, equals, path = text.partition("=")
        if not equals or "/" in name:
            name, path = tasks[0] if len(tasks) == 1 else Path(text).stem, text
        if name in files:
            raise BadInput(f"--data: two files for {name}")
        files[name] = user_path(path)
    names = [*tasks, *(name for name in files if name not in tasks)]
    if len(set(names)) < len(names):
        raise BadInput("--task names a task twice")
    return files, names or ["puzzle"]


def _plan(tasks: list[str], flags: dict[str, Any]) -> Plan:
    from ledlocal.evals.arm import arms
    from ledlocal.evals.plan import Plan, Shard, primary_of

    sweeps = _sweeps(flags["sweep"])
    try:
        temperatures = [float(text) for text in sweeps.pop("temp", [])] or [flags["temp"]]
    except ValueError as error:
        raise BadInput(f"--sweep temp: {error}") from None
    number, slash, of = flags["shard"].partition("/")
    if not (slash and number.isdecimal() and of.isdecimal()):
        raise BadInput(f"--shard takes I/N, not {flags['shard']!r}")
    methods = _methods(flags["methods"])
    chosen = arms(methods, temperatures, sweeps, [x for x in flags["ablate"].split(",") if x], flags["control"])
    # ablations and sweeps of d and k look around; what was named is what the run is made for
    named = [arm for arm in arms(methods, temperatures, control=flags["control"]) if arm in chosen]
    return Plan(tuple(tasks), chosen, flags["samples"], flags["limit"], flags["seed"], flags["max_tokens"],
                flags["reasoning"], flags["reasoning_budget"], flags["grading"], Shard(int(number), int(of)),
                primary_of(tasks, named, flags["samples"]))


def _methods(text: str) -> list[str]:
    """`standard,led:norm=on,d=4` is two: a comma before a method's name parts them."""
    found: list[str] = []
    for piece in text.split(","):
        if found and piece.partition(":")[0] not in get_args(MethodName):
            found[-1] += f",{piece}"
        else:
            found.append(piece)
    return found


def _sweeps(given: tuple[str, ...]) -> dict[str, list[str]]:
    sweeps: dict[str, list[str]] = {}
    for text in given:
        name, equals, values = text.partition("=")
        if not equals or not all(values.split(",")):
            raise BadInput(f"--sweep takes NAME=VALUE,VALUE,..., not {text!r}")
        if name in sweeps:
            raise BadInput(f"--sweep {name} is given twice")
        sweeps[name] = values.split(",")
    return sweeps


def _subject(model: str, plan: Plan, flags: dict[str, Any], console: Any) -> Subject:
    from ledlocal.config import read_config
    from ledlocal.digest import sha256_of_parts
    from ledlocal.evals.run import Subject
    from ledlocal.models import resolve
    from ledlocal.runtime.build import survey
    from ledlocal.runtime.header import read_header
    from ledlocal.runtime.plan import DEFAULT_CONTEXT
    from ledlocal.runtime.template import read_template
    from ledlocal.stores.location import parts_of
    from ledlocal.values.params import EngineOptions

    location = resolve(model, offline=flags["offline"], aliases=read_config().models)
    console.info(f"model     {location.said()}")
    template = flags["chat_template_file"]
    start, comma, end = (flags["think_tags"] or "").partition(",")
    if flags["think_tags"] is not None and not (start and end):
        raise BadInput(f"--think-tags takes START,END, not {flags['think_tags']!r}")
    if flags["batch"] != "auto" and not flags["batch"].isdecimal():
        raise BadInput(f"--batch takes auto or a number, not {flags['batch']!r}")
    depth = max(sampling.led.d for arm in plan.arms for sampling in arm.sampling(None))
    options = EngineOptions(
        str(location.path), flags["ctx_size"], threads=flags["threads"], gpu_layers=flags["gpu_layers"],
        flash_attention=flags["flash_attn"], cache_type_k=flags["cache_type_k"], cache_type_v=flags["cache_type_v"],
        tap=flags["tap"], depth=depth, reproducible=True,
        chat_template=read_template(template).text if template else None, think_tags=(start, end) if comma else None)
    header = read_header(location.path)
    trained = header.metadata.get(f"{header.architecture}.context_length")
    return Subject(model, sha256_of_parts(parts_of(location.path)), options,
                   trained if isinstance(trained, int) else DEFAULT_CONTEXT,
                   None if flags["batch"] == "auto" else int(flags["batch"]), survey(),
                   shlex.join(["ledlocal", *sys.argv[1:]]))


def _folder(model: str, tasks: list[str]) -> Path:
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in Path(model).stem)
    return Path("runs") / f"{name}-{'-'.join(task.replace(':', '-') for task in tasks)}"
