"""The command line. Loads what a command needs when the command runs: `--help` stays light."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from ledlocal import __version__
from ledlocal.values.errors import INTERRUPTED, NOBODY_READS, BadInput, LedlocalError, OutOfResources

COMMANDS = {
    "chat": "Talk to a model, or answer a prompt once.",
    "tui": "The same on a whole screen: watch the model choose between its layers.",
    "models": "Find, fetch and describe models.",
    "data": "List, fetch and check the paper's benchmark files.",
    "eval": "Does a decoding method help? Problems with answers that can be checked.",
    "compare": "Whether methods, or two runs, differ on the same problems.",
    "grade": "Judge the samples of a run again, without the model.",
    "report": "A run for reading: Markdown, HTML, pictures.",
    "samples": "What the model said in a run: counts per problem, samples in full.",
    "merge": "Join the shards of a run.",
    "lens": "Measure every layer while a model thinks.",
    "bench": "How fast a model speaks here, and what looking into its layers costs.",
    "trace": "Show a recorded trace, token by token.",
    "build": "Compile the patched llama.cpp.",
    "doctor": "What works here, what does not, and the command that mends it.",
    "completion": "Completion for a shell.",
}
"""Name, which is also the module in ledlocal.commands, and the line in --help."""


@contextmanager
def _until_nobody_reads() -> Iterator[None]:
    """Within, a reader that leaves ends the program without a word. click alone would call that a failure."""
    try:
        yield
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # the interpreter would complain of what is left in their buffers
            with suppress(AttributeError, OSError):  # one that was closed before
                os.dup2(nowhere, stream.fileno())
        raise click.exceptions.Exit(NOBODY_READS) from None


class Commands(click.Group):
    """Commands by name; every error a user can meet ends as one line on stderr and its exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command when it is used."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"ledlocal.commands.{cmd_name}"), cmd_name)
        return command

    def resolve_command(self, ctx: click.Context,
                        args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a mistyped name gets a suggestion."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            if near := get_close_matches(args[0], COMMANDS, 1):
                ctx.fail(f"No such command {args[0]!r}; did you mean {near[0]}?")
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table: no command is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    @_until_nobody_reads()
    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """As click does, which is when --help is printed."""
        return super().make_context(*args, **extra)

    @_until_nobody_reads()
    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Other exceptions are ours to fix and keep their traceback."""
        try:
            return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except LedlocalError as error:
            message, code = str(error), error.exit_code
        except click.UsageError as error:
            message = f"{_origin(error)}{error.format_message()} See {(error.ctx or ctx).command_path} --help."
            code = BadInput.exit_code
        except KeyboardInterrupt:
            message, code = "interrupted", INTERRUPTED
        _say(message)
        raise click.exceptions.Exit(code)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Parse and run; an output that cannot be written is an error like any other."""
        try:
            return super().main(*args, **extra)
        except OSError as error:
            if error.errno == errno.EIO and not error.filename and _hung_up():
                sys.exit(128 + signal.SIGHUP)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
                raise
            _say(f"{error.filename or 'cannot write the output'}: {error.strerror}")
            sys.exit(OutOfResources.exit_code)


def _say(message: str) -> None:
    from ledlocal.safe_text import safe_line

    click.echo(f"ledlocal: {safe_line(message)}", err=True)


def _origin(error: click.UsageError) -> str:
    """The variable or file that a bad value comes from; a flag's own name is in click's message."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None or not error.param.name:
        return ""
    from click.core import ParameterSource

    from ledlocal.commands.values import origin_of

    source = error.ctx.get_parameter_source(error.param.name)
    elsewhere = source in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)
    return f"{origin_of(error.param.name, error.ctx)}: " if elsewhere else ""


def _hung_up() -> bool:
    """Whether the terminal of this session was closed: nobody is there to be told anything."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return True
    return False


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
