"""The command line. Loads what a command needs when the command runs: `--help` stays light."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledlocal import __version__
from ledlocal.values.errors import INTERRUPTED, BadInput, LedlocalError
from ledlocal.values.params import Detail, EngineOptions

if TYPE_CHECKING:
    from ledlocal.reply import Engine
    from ledlocal.settings import Settings


class Commands(click.Group):
    """Every error a user can meet ends as one line on stderr and its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Other exceptions are ours to fix and keep their traceback."""
        try:
            return super().invoke(ctx)
        except LedlocalError as error:
            message, code = str(error), error.exit_code
        except click.UsageError as error:
            message = f"{error.format_message()} See {(error.ctx or ctx).command_path} --help."
            code = BadInput.exit_code
        except KeyboardInterrupt:
            message, code = "interrupted", INTERRUPTED
        from ledlocal.safe_text import safe_line

        click.echo(f"ledlocal: {safe_line(message)}", err=True)
        raise click.exceptions.Exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Watch and steer how a local GGUF model thinks: Latent Exploration Decoding on llama.cpp.

    \b
    ledlocal chat                       talk to the embedded demo model
    ledlocal chat model.gguf            talk to a model
    ledlocal chat model.gguf "17*23?"   one answer, alone on stdout
    echo "17*23?" | ledlocal chat model.gguf --json
    """


_SETTINGS = (
    (("--temp",), "temp", "T", "Temperature; 0 is greedy. [the model file's, else 0.6]"),
    (("--top-k",), "top_k", "N", "Method standard: the N most probable tokens; 0: all. [file's, else 20]"),
    (("--top-p",), "top_p", "P", "Method standard: the smallest set with probability P; 1: all. [file's, else 0.95]"),
    (("--min-p",), "min_p", "P", "Method standard: at least P times the largest probability; 0: off. [file's, else 0]"),
    (("--order",), "order", "llama|paper", "Method standard: temperature last, or first. [llama]"),
    (("--method",), "method", "led|standard|control", "How tokens are drawn. [led]"),
    (("--preset",), "preset", "reference|paper", "LED as in the authors' code, or as in the paper's figure."),
    (("--d",), "d", "N", "LED: exploration depth, the number of layers looked at. [8]"),
    (("--k",), "k", "N", "LED: number of candidates. [8]"),
    (("--scope",), "scope", "thinking|all", "LED: where to explore. [thinking]"),
    (("--think-temp",), "think.temp", "T", "Temperature while thinking."),
    (("--answer-temp",), "answer.temp", "T", "Temperature of the answer."),
    (("--answer-method",), "answer.method", "led|standard|control", "Method of the answer."),
    (("-s", "--seed"), "seed", "N", "Seed; -1: random. [-1]"),
    (("-n", "--predict"), "max_tokens", "N", "Most tokens to generate, thinking included; -1: up to the context. [-1]"),
    (("--reasoning",), "reasoning", "on|off|auto", "Whether the template lets the model think. [auto]"),
    (("--reasoning-budget",), "budget", "N", "End thinking after N tokens; -1: never. [-1]"),
)
"""Flags -> name in Settings. Plain names come first: they set both phases."""


def _settings_options(command: Callable[..., None]) -> Callable[..., None]:
    for flags, name, metavar, text in reversed(_SETTINGS):
        command = click.option(*flags, name.replace(".", "__"), metavar=metavar, help=text)(command)
    return command


@main.command()
@click.argument("words", nargs=-1, metavar="[MODEL] [PROMPT]")
@click.option("-m", "--model", metavar="MODEL", help="The same as MODEL: a GGUF file, or demo.")
@click.option("-p", "--prompt", metavar="PROMPT", help="The same as PROMPT: answer once and leave.")
@click.option("-sys", "--system-prompt", metavar="TEXT", help="System message.")
@_settings_options
@click.option("--set", "more", nargs=2, multiple=True, metavar="NAME VALUE",
              help="Any setting of /set: norm on, answer.top_p 0.9, ...")
@click.option("--stop", multiple=True, metavar="TEXT", help="End the answer before TEXT; repeatable.")
@click.option("-c", "--ctx-size", type=int, metavar="N", help="Context in tokens. [trained, at most 32768]")
@click.option("-ngl", "--gpu-layers", default="auto", metavar="auto|N", help="Layers on the GPU. [auto]")
@click.option("-t", "--threads", type=int, metavar="N", help="CPU threads. [physical cores]")
@click.option("--tap", type=click.Choice(["auto", "plugin", "reference", "none"]), default="auto",
              help="How intermediate layers are read. [auto]")
@click.option("--chat-template-file", type=click.Path(path_type=Path), metavar="FILE", help="Replaces the file's own.")
@click.option("--think-tags", metavar="START,END", help="Thinking markers, if they are not found.")
@click.option("--reproducible", is_flag=True, help="The same tokens whatever else the engine does (CPU).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--trace", type=click.Path(path_type=Path), metavar="FILE", help="A new file: one JSON line per token.")
@click.option("--trace-all", is_flag=True, help="With --trace: look into the layers at every thinking token.")
@click.option("-q", "--quiet", is_flag=True, help="Only the answer.")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="[auto]")
def chat(words: tuple[str, ...], model: str | None, prompt: str | None, **flags: Any) -> None:
    """Talk to MODEL, or answer PROMPT (or standard input) once: the answer on stdout, the rest on stderr."""
    from contextlib import ExitStack, closing

    from ledlocal.chat import Chat
    from ledlocal.models import resolve, sha256_of
    from ledlocal.result import to_json
    from ledlocal.terminal import Console
    from ledlocal.trace import TraceWriter

    model, prompt = _model_and_prompt(words, model, prompt)
    settings = _settings(flags)
    options = _engine_options(resolve(model), settings.deepest(), flags)
    if flags["trace_all"] and not flags["trace"]:
        raise BadInput("--trace-all needs --trace FILE")
    if prompt is None and not _interactive():
        prompt = _read_stdin()
    if prompt is None and flags["as_json"]:
        raise BadInput("--json needs a prompt")
    if prompt is not None and not prompt.strip():
        raise BadInput("the prompt is empty")
    console = Console(flags["color"], flags["quiet"])
    with ExitStack() as stack:
        trace = stack.enter_context(closing(TraceWriter(flags["trace"]))) if flags["trace"] else None
        talk = Chat(lambda: start_engine(options), settings, console, flags["system_prompt"], trace)
        stack.enter_context(closing(talk))
        if prompt is None:
            sys.exit(talk.run())
        reply = talk.ask_once(prompt, show=not flags["as_json"])
        if flags["as_json"]:
            click.echo(to_json(reply, talk.loaded, sha256_of(Path(options.model))))
    sys.exit({"cancelled": INTERRUPTED, "invalid": LedlocalError.exit_code}.get(reply.finished.finish, 0))


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="[auto]")
@click.option("--layers", is_flag=True, help="Also what each layer thinks, where the layers were looked into.")
def trace(file: Path, layers: bool, color: Any) -> None:
    """Show a FILE written by `chat --trace`: token by token, where the model explored and what came of it."""
    from ledlocal.terminal import Screen
    from ledlocal.trace import print_trace

    print_trace(file, Screen(sys.stdout, color), layers)


def start_engine(options: EngineOptions) -> Engine:
    """The engine in a process of its own."""
    from ledlocal.worker.client import Worker

    return Worker(options)


def _model_and_prompt(words: tuple[str, ...], model: str | None, prompt: str | None) -> tuple[str | None, str | None]:
    """MODEL and PROMPT from their flags, and from the words in that order."""
    free = list(words)
    if model is None and free:
        model = free.pop(0)
    if prompt is None and free:
        prompt = free.pop(0)
    if free:
        raise BadInput(f"one word too many: {free[0]!r}; a prompt of several words needs quotes")
    return model, prompt


def _settings(flags: dict[str, Any]) -> Settings:
    from ledlocal.settings import Settings

    detail: Detail = "all" if flags["trace_all"] else "candidates" if flags["trace"] else "forks"
    settings = Settings(stop=flags["stop"], detail=detail)
    for _, name, _, _ in _SETTINGS:
        text = flags[name.replace(".", "__")]
        if text is not None:
            settings = settings.with_value(name, text)
    for name, text in flags["more"]:
        settings = settings.with_value(name, text)
    settings.request(None)  # a wrong value is told before a model is loaded
    return settings


def _engine_options(path: Path, depth: int, flags: dict[str, Any]) -> EngineOptions:
    template, tags, layers = flags["chat_template_file"], flags["think_tags"], flags["gpu_layers"]
    if template is not None:
        from ledlocal.runtime.template import read_template

        template = read_template(template).text
    if tags is not None:
        start, _, end = tags.partition(",")
        if not start or not end:
            raise BadInput(f"--think-tags takes START,END, not {tags!r}")
        tags = (start, end)
    if layers != "auto" and not layers.isdecimal():
        raise BadInput(f"--gpu-layers takes auto or a number, not {layers!r}")
    return EngineOptions(
        model=str(path), context=flags["ctx_size"], threads=flags["threads"],
        gpu_layers=None if layers == "auto" else int(layers), tap=flags["tap"],
        depth=depth, reproducible=flags["reproducible"], chat_template=template, think_tags=tags)


def _interactive() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _read_stdin() -> str:
    if sys.stdin is None:
        raise BadInput("no prompt, and standard input is closed")
    try:
        return sys.stdin.buffer.read().decode("utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"standard input is not UTF-8: {error}") from None
