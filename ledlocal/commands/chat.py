"""`ledlocal chat`: talk to a model, or answer once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ledlocal.commands.values import Configured
from ledlocal.values.errors import INTERRUPTED, BadInput, LedlocalError
from ledlocal.values.params import Detail, EngineOptions

if TYPE_CHECKING:
    from ledlocal.chat import Chat
    from ledlocal.conversation import Conversation
    from ledlocal.reply import Engine
    from ledlocal.settings import Settings
    from ledlocal.terminal import Console
    from ledlocal.trace import TraceWriter

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


@click.command(cls=Configured)
@click.argument("words", nargs=-1, metavar="[MODEL] [PROMPT]")
@click.option("-m", "--model", metavar="MODEL", help="The same as MODEL: a GGUF file, demo, user/repo[:quant], "
              "ollama:NAME, lmstudio:PUBLISHER/MODEL, or a name of your configuration file.")
@click.option("-p", "--prompt", metavar="PROMPT", help="The same as PROMPT: answer once and leave.")
@click.option("-sys", "--system-prompt", metavar="TEXT", help="System message.")
@_settings_options
@click.option("--set", "more", nargs=2, multiple=True, metavar="NAME VALUE",
              help="Any setting of /set: norm on, answer.top_p 0.9, ...")
@click.option("--stop", multiple=True, metavar="TEXT", help="End the answer before TEXT; repeatable.")
@click.option("-c", "--ctx-size", type=int, metavar="N", help="Context in tokens. [trained, at most 32768]")
@click.option("-ngl", "--gpu-layers", default="auto", metavar="auto|N", help="Layers on the GPU. [auto]")
@click.option("-t", "--threads", type=int, metavar="N", help="CPU threads. [physical cores]")
@click.option("--tap", type=click.Choice(["auto", "native", "plugin", "reference", "none"]), default="auto",
              help="How intermediate layers are read. [auto]")
@click.option("--chat-template-file", type=click.Path(path_type=Path), metavar="FILE", help="Replaces the file's own.")
@click.option("--think-tags", metavar="START,END", help="Thinking markers, if they are not found.")
@click.option("--reproducible", is_flag=True, help="The same tokens whatever else the engine does (CPU).")
@click.option("--show-thinking", type=click.Choice(["auto", "always", "never"]), default="auto",
              help="auto: unless quiet; never: only counted. [auto]")
@click.option("--color-by", type=click.Choice(["explored", "confidence", "none"]), default="explored",
              help="What colours mean. [explored]")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="[auto]")
@click.option("--continue", "resume", is_flag=True, help="Go on with the last kept conversation.")
@click.option("--load", metavar="NAME", help="Go on with a kept conversation, or one in a .jsonl file.")
@click.option("--no-save", is_flag=True, help="Do not keep the conversation.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--trace", type=click.Path(path_type=Path), metavar="FILE", help="A new file: one JSON line per token.")
@click.option("--trace-all", is_flag=True, help="With --trace: look into the layers at every thinking token.")
@click.option("--offline", is_flag=True, help="Never use the network.")
@click.option("-q", "--quiet", is_flag=True, help="Only the answer.")
@click.option("--print-config", is_flag=True, help="Show every value and where it came from, and leave.")
def chat(words: tuple[str, ...], model: str | None, prompt: str | None, **flags: Any) -> None:
    """Talk to MODEL, or answer PROMPT (or standard input) once: the answer on stdout, the rest on stderr."""
    from ledlocal.commands.values import print_values
    from ledlocal.config import read_config
    from ledlocal.digest import sha256_of_parts
    from ledlocal.models import resolve
    from ledlocal.result import to_json
    from ledlocal.stores.location import parts_of
    from ledlocal.terminal import Console

    model, prompt = _model_and_prompt(words, model, prompt)
    settings = _settings(flags)
    if flags["print_config"]:
        print_values(click.get_current_context(), settings, model)
        return
    kept, path = _conversation(flags)
    if flags["system_prompt"] is not None:
        kept = replace(kept, system=flags["system_prompt"])
    model = model or kept.model or None
    location = resolve(model, offline=flags["offline"], aliases=read_config().models)
    options = _engine_options(location.path, settings.deepest(), flags)
    if flags["trace_all"] and not flags["trace"]:
        raise BadInput("--trace-all needs --trace FILE")
    prompt = _prompt(prompt, flags["as_json"])
    console = Console(flags["color"], flags["quiet"])
    if location.origin not in ("embedded", "file"):
        console.info(f"model     {location.said()}")
    kept = kept.under(model or "demo")
    with ExitStack() as stack:
        trace = _trace(stack, flags["trace"])
        talk = _open(options, settings, console, kept, path if prompt is None else None, trace, flags)
        stack.enter_context(closing(talk))
        if prompt is None:
            sys.exit(talk.run())
        reply = talk.ask_once(prompt, show=not flags["as_json"])
        if flags["as_json"]:
            click.echo(to_json(reply, talk.loaded, options, sha256_of_parts(parts_of(location.path))))
    sys.exit({"cancelled": INTERRUPTED, "invalid": LedlocalError.exit_code}.get(reply.finished.finish, 0))


def _open(options: EngineOptions, settings: Settings, console: Console, kept: Conversation, path: Path | None,
          trace: TraceWriter | None, flags: dict[str, Any]) -> Chat:
    """The chat, with a line editor where a person types."""
    from ledlocal.chat import Chat
    from ledlocal.reply import Look

    typed, ask = None, None
    if _interactive() and console.out.tty:
        from ledlocal.keys import Typed
        from ledlocal.line_editor import LineEditor

        typed = Typed()
        ask = LineEditor(typed, console.out.color, history=not flags["no_save"]).ask
    look = Look(flags["show_thinking"], flags["color_by"])
    return Chat(lambda: start_engine(options), settings, console, kept, path=path, look=look, trace=trace, ask=ask,
                template=options.chat_template, typed=typed, edit=edit_text)


def edit_text(text: str) -> str | None:
    """A text as the user left it in $EDITOR; None if it was not saved. Raises BadInput."""
    try:
        return click.edit(text)
    except click.ClickException as error:
        raise BadInput(f"the editor did not run: {error.format_message()}; set EDITOR") from None


def start_engine(options: EngineOptions) -> Engine:
    """The engine in a process of its own."""
    from ledlocal.worker.client import Worker

    return Worker(options)


def _trace(stack: ExitStack, path: Path | None) -> TraceWriter | None:
    from ledlocal.trace import TraceWriter

    return stack.enter_context(closing(TraceWriter(path))) if path else None


def _conversation(flags: dict[str, Any]) -> tuple[Conversation, Path | None]:
    """What to go on with, and where it is kept."""
    from ledlocal.conversation import Conversation, latest, new_path, path_of, read_conversation

    if flags["resume"] and flags["load"]:
        raise BadInput("--continue takes the last conversation and --load a named one; give one of them")
    if not flags["resume"] and not flags["load"]:
        return Conversation(), None if flags["no_save"] else new_path()
    path = latest() if flags["resume"] else path_of(flags["load"])
    return read_conversation(path), None if flags["no_save"] else path


def _prompt(prompt: str | None, as_json: bool) -> str | None:
    """The prompt to answer once; None where a person types."""
    if prompt is None and not _interactive():
        prompt = _read_stdin()
    if prompt is None and as_json:
        raise BadInput("--json needs a prompt")
    if prompt is not None and not prompt.strip():
        raise BadInput("the prompt is empty")
    return prompt


def _model_and_prompt(words: tuple[str, ...], model: str | None, prompt: str | None) -> tuple[str | None, str | None]:
    """MODEL and PROMPT from their flags, and from the words in that order."""
    free = list(words)
    typed = click.get_current_context().get_parameter_source("model") == ParameterSource.COMMANDLINE
    if not typed and free:  # a model of the environment or the configuration file gives way
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
