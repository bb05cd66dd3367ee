"""`ledlocal chat`: talk to a model, or answer once."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ledlocal.commands.chat_flags import SETTINGS, chat_flags
from ledlocal.commands.values import Configured, defaults, origin_of
from ledlocal.values.errors import INTERRUPTED, BadInput, LedlocalError
from ledlocal.values.params import Detail, EngineOptions

if TYPE_CHECKING:
    from ledlocal.chat import Chat
    from ledlocal.config import Config
    from ledlocal.conversation import Conversation
    from ledlocal.reply import Engine
    from ledlocal.settings import Settings
    from ledlocal.terminal import Console
    from ledlocal.trace import TraceWriter


@click.command(cls=Configured)
@chat_flags
def chat(words: tuple[str, ...], model: str | None, prompt: str | None, **flags: Any) -> None:
    """Talk to MODEL, or answer PROMPT (or standard input) once: the answer on stdout, the rest on stderr."""
    from ledlocal.commands.values import print_values
    from ledlocal.config import read_config
    from ledlocal.digest import sha256_of_parts
    from ledlocal.models import resolve
    from ledlocal.result import to_json
    from ledlocal.stores.location import parts_of
    from ledlocal.terminal import Console, leave_on_signals

    going_on = flags["resume"] or flags["load"] is not None
    model, prompt = _model_and_prompt(words, model or flags["hf_repo"], prompt, going_on)
    if flags["file"] is not None:
        prompt = _file_prompt(flags["file"], prompt)
    settings = _settings(flags)
    if flags["print_config"]:
        print_values(click.get_current_context(), settings, model)
        return
    kept, path = _conversation(flags)
    if flags["system_prompt"] is not None:
        kept = replace(kept, system=flags["system_prompt"])
    model = model or kept.model or None
    location = resolve(model, offline=flags["offline"], aliases=read_config().models)
    if flags["sha256"] is not None:
        _check_digest(location.path, flags["sha256"])
    options = _engine_options(location.path, settings.deepest(), flags)
    if flags["trace_all"] and not flags["trace"]:
        raise BadInput("--trace-all needs --trace FILE")
    prompt = _prompt(prompt, flags["as_json"])
    console = Console(flags["color"], flags["quiet"])
    if location.origin == "file":
        model = str(location.path.absolute())  # the conversation may go on from another folder
    if location.origin not in ("embedded", "file"):
        console.info(f"model     {location.said()}")
    if location.origin == "embedded" and prompt is None:
        console.info("demo      it solves number puzzles, one per conversation; /clear begins another")
    kept = kept.under(model or "demo")
    if prompt is None:
        leave_on_signals()
    with ExitStack() as stack:
        trace = _trace(stack, flags["trace"])
        talk = _open(options, settings, console, kept, path if prompt is None or going_on else None, trace, flags)
        stack.enter_context(closing(talk))
        if prompt is None:
            sys.exit(talk.run())
        reply = talk.ask_once(prompt, show=not flags["as_json"])
        talk.save()
        if flags["as_json"]:
            click.echo(to_json(reply, talk.loaded, options, sha256_of_parts(parts_of(location.path))))
    sys.exit({"cancelled": INTERRUPTED, "invalid": LedlocalError.exit_code}.get(reply.finished.finish, 0))


def check_chat(config: Config) -> None:
    """Raise BadInput unless the configuration's values for this command are sound."""
    with chat.make_context("chat", [], default_map=defaults(chat, config)) as context:
        _settings(context.params)


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
    shown = flags["show_thinking"]
    if flags["quiet"] and origin_of("show_thinking")[:2] != "--":  # quiet is stronger than the configuration file
        shown = "auto"
    look = Look(shown, flags["color_by"])
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
    elif prompt is not None and _piped():  # as `git diff | ledlocal chat MODEL "summarize"`
        prompt = "\n\n".join(filter(str.strip, (prompt, _read_stdin())))
    if prompt is None and as_json:
        raise BadInput("--json needs a prompt")
    if prompt is not None and not prompt.strip():
        raise BadInput("the prompt is empty")
    return prompt


def _model_and_prompt(words: tuple[str, ...], model: str | None, prompt: str | None,
                      going_on: bool) -> tuple[str | None, str | None]:
    """MODEL and PROMPT from their flags, and from the words in that order; a conversation that goes on has a model."""
    free = list(words)
    context = click.get_current_context()
    typed = ParameterSource.COMMANDLINE in map(context.get_parameter_source, ("model", "hf_repo"))
    if not typed and free and (len(free) > going_on or _names_a_model(free[0])):
        model = free.pop(0)  # one of the environment or the configuration file gives way
    if prompt is None and free:
        prompt = free.pop(0)
    if free:
        raise BadInput(f"one word too many: {free[0]!r}; a prompt of several words needs quotes")
    return model, prompt


def _names_a_model(word: str) -> bool:
    """Whether one word beside --continue is a model, not a message."""
    from ledlocal.config import read_config

    return (word == "demo" or word.endswith(".gguf") or word.startswith(("ollama:", "lmstudio:"))
            or word in read_config().models or os.path.exists(word))


def _settings(flags: dict[str, Any]) -> Settings:
    from ledlocal.settings import Settings

    detail: Detail = "all" if flags["trace_all"] else "candidates" if flags["trace"] else "forks"
    settings = Settings(stop=flags["stop"], detail=detail)
    given = [(name.replace(".", "__"), name, flags[name.replace(".", "__")]) for _, name, _, _ in SETTINGS]
    for option, name, text in [*given, *(("more", name, text) for name, text in flags["more"])]:
        if text is not None:
            try:
                settings = settings.with_value(name, text)
                settings.request(None)  # a wrong value is told before a model is loaded
            except BadInput as error:
                raise BadInput(f"{origin_of(option)}: {error}") from None
    settings.request(None)
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
    if layers not in ("auto", "all") and not layers.isdecimal():
        raise BadInput(f"--gpu-layers takes auto, all or a number, not {layers!r}")
    context, threads = flags["ctx_size"], flags["threads"]
    if context == 0:
        context = _trained_context(path)
    fields = {
        "context": ("ctx_size", context), "threads": ("threads", None if threads == -1 else threads),
        "gpu_layers": ("gpu_layers", None if layers == "auto" else 1 << 20 if layers == "all" else int(layers)),
        "flash_attention": ("flash_attn", flags["flash_attn"]), "cache_type_k": ("cache_type_k", flags["cache_type_k"]),
        "cache_type_v": ("cache_type_v", flags["cache_type_v"]), "tap": ("tap", flags["tap"]), "depth": ("d", depth)}
    for name, (option, value) in fields.items():
        try:
            EngineOptions(str(path), **{name: value})
        except BadInput as error:
            raise BadInput(f"{origin_of(option)}: {error}") from None
    return EngineOptions(str(path), reproducible=flags["reproducible"], chat_template=template, think_tags=tags,
                         **{name: value for name, (_, value) in fields.items()})


def _check_digest(path: Path, wanted: str) -> None:
    from ledlocal.digest import sha256_of_parts
    from ledlocal.stores.location import parts_of

    if len(wanted) < 8 or set(wanted.lower()) - set("0123456789abcdef"):
        raise BadInput(f"--sha256 takes at least 8 hexadecimal digits, not {wanted!r}")
    found = sha256_of_parts(parts_of(path))
    if not found.startswith(wanted.lower()):
        raise BadInput(f"{path}: its SHA-256 is {found}, not {wanted}")


def _trained_context(path: Path) -> int | None:
    from ledlocal.runtime.header import read_header

    header = read_header(path)
    trained = header.metadata.get(f"{header.architecture}.context_length")
    return trained if isinstance(trained, int) else None


def _file_prompt(path: Path, prompt: str | None) -> str:
    from ledlocal.text_file import read_text

    if prompt is not None:
        raise BadInput("--file and PROMPT are both the prompt; give one of them")
    return read_text(path)


def _piped() -> bool:
    """Whether standard input is a pipe or a file: something that was meant to be read, and ends."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode if sys.stdin is not None else 0
    except (OSError, ValueError):  # it is no file of the system's
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _interactive() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _read_stdin() -> str:
    if sys.stdin is None:
        raise BadInput("no prompt, and standard input is closed")
    from ledlocal.text_file import read_most

    try:
        return read_most(sys.stdin.buffer, "standard input").decode("utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"standard input is not UTF-8: {error}") from None
