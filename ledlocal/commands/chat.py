"""`ledlocal chat`: talk to a model, or answer once."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ledlocal.commands.chat_flags import chat_flags
from ledlocal.commands.session import options_of, settings_of, setup_of, start_engine
from ledlocal.commands.tui import go_on
from ledlocal.commands.values import Configured, defaults, origin_of
from ledlocal.values.errors import INTERRUPTED, BadInput, LedlocalError
from ledlocal.values.params import EngineOptions

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
    from ledlocal.digest import sha256_of_parts
    from ledlocal.result import to_json
    from ledlocal.stores.location import parts_of
    from ledlocal.terminal import Console, leave_on_signals

    going_on = flags["resume"] or flags["load"] is not None
    model, prompt = _model_and_prompt(words, model or flags["hf_repo"], prompt, going_on)
    if flags["file"] is not None:
        prompt = _file_prompt(flags["file"], prompt)
    settings = settings_of(flags)
    if flags["print_config"]:
        print_values(click.get_current_context(), settings, model)
        return
    setup = setup_of(model, settings, flags)
    location, path = setup.location, setup.path
    if flags["trace_all"] and not flags["trace"]:
        raise BadInput("--trace-all needs --trace FILE")
    prompt = _prompt(prompt, flags["as_json"])
    console = Console(flags["color"], flags["quiet"])
    if location.origin not in ("embedded", "file"):
        console.info(f"model     {location.said()}")
    if location.origin == "embedded" and prompt is None:
        console.info("demo      it solves puzzles of 3 to 5 numbers: Use 3, 4, 5 and 7 to make 30.")
    if prompt is None:
        leave_on_signals()
    with ExitStack() as stack:
        trace = _trace(stack, flags["trace"])
        talk = _open(setup.options, settings, console, setup.conversation,
                     path if prompt is None or going_on else None, trace, flags)
        stack.enter_context(closing(talk))
        if prompt is None:
            sys.exit(talk.run())
        reply = talk.ask_once(prompt, show=not flags["as_json"])
        talk.save()
        if flags["as_json"]:
            click.echo(to_json(reply, talk.loaded, setup.options, sha256_of_parts(parts_of(location.path))))
    sys.exit({"cancelled": INTERRUPTED, "invalid": LedlocalError.exit_code}.get(reply.finished.finish, 0))


def check_chat(config: Config) -> None:
    """Raise BadInput unless the configuration's values for this command are sound."""
    with chat.make_context("chat", [], default_map=defaults(chat, config)) as context:
        settings_of(context.params)


def _open(options: EngineOptions, settings: Settings, console: Console, kept: Conversation, path: Path | None,
          trace: TraceWriter | None, flags: dict[str, Any]) -> Chat:
    """The chat, with a line editor where a person types."""
    from ledlocal.chat import Chat
    from ledlocal.reply import Look
    from ledlocal.terminal import drawable

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

    def find(model: str) -> EngineOptions:
        return options_of(model, settings.deepest(), flags)

    def start(model: str | None) -> Engine:
        return start_engine(options if model is None else find(model))

    return Chat(start, settings, console, kept, path=path, look=look, trace=trace, ask=ask,
                template=options.chat_template, typed=typed, edit=edit_text,
                on_screen=partial(go_on, start, find) if drawable() else None)


def edit_text(text: str) -> str | None:
    """A text as the user left it in $EDITOR; None if it was not saved. Raises BadInput."""
    try:
        return click.edit(text)
    except click.ClickException as error:
        raise BadInput(f"the editor did not run: {error.format_message()}; set EDITOR") from None



def _trace(stack: ExitStack, path: Path | None) -> TraceWriter | None:
    from ledlocal.trace import TraceWriter

    return stack.enter_context(closing(TraceWriter(path))) if path else None


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
