"""Where the values of a command's options come from: flag, environment, configuration file, default."""

from __future__ import annotations

import os
import re
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ledlocal.commands.chat_flags import TERMINAL
from ledlocal.config import Config, read_config
from ledlocal.safe_text import safe_line
from ledlocal.terminal import Screen
from ledlocal.values.errors import BadInput

if TYPE_CHECKING:
    from ledlocal.settings import Settings

VARIABLES = ("LEDLOCAL_CONFIG", "LEDLOCAL_LIBRARY")
"""Variables that belong to no option."""
_WITHOUT = ("help", "version", "print_config")


def long_name(option: click.Option) -> str:
    """The first long flag without its dashes: the option's name in the configuration file."""
    return next(flag for flag in option.opts if flag.startswith("--")).lstrip("-")


def variable(option: click.Option) -> str:
    """The option's environment variable."""
    return "LEDLOCAL_" + long_name(option).replace("-", "_").upper()


class Configured(click.Command):
    """A command whose options may be set by the configuration file and the environment, too."""

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None,
                     **extra: Any) -> click.Context:
        """Parse: a flag overrides its environment variable, which overrides the file. Raises BadInput."""
        _refuse_clusters(self, args)
        for option in _options(self):
            option.envvar = variable(option)
        if not extra.get("resilient_parsing"):  # not while a shell completes
            _point_out_misspelt(self)
        if not {"-h", "--help"}.intersection(args):
            extra.setdefault("default_map", defaults(self, read_config()))
        return super().make_context(info_name, args, parent, **extra)


def _point_out_misspelt(command: click.Command) -> None:
    """A variable that is nearly an option's would be ignored."""
    known = [variable(option) for option in _options(command)]
    for name in sorted(os.environ.keys() - {*known, *VARIABLES}):
        if name.startswith("LEDLOCAL_") and (near := get_close_matches(name, known, 1, 0.85)):
            click.echo(f"note: {safe_line(name)} is not read; {near[0]} is", err=True)


def _refuse_clusters(command: click.Command, args: list[str]) -> None:
    """`-st` is another program's flag, not `-s t`."""
    known = {flag for option in _options(command) for flag in option.opts}
    for before, arg in zip(["", *args], args, strict=False):
        if re.fullmatch("-[a-z]{2,}", arg) and arg not in known and before not in known:
            raise click.NoSuchOption(arg, ctx=click.Context(command, info_name=f"ledlocal {command.name}"))


def defaults(command: click.Command, config: Config) -> dict[str, Any]:
    """A `default_map` from the configuration file. Raises BadInput for a name that is no option."""
    by_name = {long_name(option): option for option in _options(command)}
    found = {}
    for name, value in config.chat.items():
        option = by_name.get(name.replace("_", "-"))
        if option is None and command.name != "chat" and name.replace("_", "-") in TERMINAL:
            continue
        if option is None:
            raise BadInput(f"{config.path}: chat.{name} is no flag of ledlocal chat; there are {', '.join(by_name)}")
        if option.is_flag != isinstance(value, bool):
            raise BadInput(f"{config.path}: chat.{name} must be {'true or false' if option.is_flag else 'a value'}")
        if isinstance(value, list) and not option.multiple:
            raise BadInput(f"{config.path}: chat.{name} takes one value")
        if option.nargs == 2:  # "NAME VALUE" each
            value = [line.split(maxsplit=1) for line in value]
            if any(len(pair) != 2 for pair in value):
                raise BadInput(f'{config.path}: chat.{name} takes a list of "NAME VALUE"')
        found[str(option.name)] = value if isinstance(value, bool | list) else str(value)
    return found


def print_values(ctx: click.Context, settings: Settings, model: str | None) -> None:
    """Every option with its value and its source, then what is in effect."""
    screen = Screen(sys.stdout)
    config = read_config()
    screen.line(f"# configuration file: {config.path}{'' if config.exists else ' (none)'}")
    rows = []
    for option in _options(ctx.command):
        value = ctx.params.get(str(option.name))
        if option.name == "model":
            value = model
        source = ctx.get_parameter_source(str(option.name))
        rows.append((long_name(option), _shown(option, value, settings), _source(source, option)))
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    for name, shown, source_name in rows:
        screen.line(f"{name:{widths[0]}}  {shown:{widths[1]}}  {source_name}")
    screen.line("# in effect, before a model file's own defaults for what is not set:")
    for line in settings.describe(None):
        screen.line(f"# {line}")


def _shown(option: click.Option, value: Any, settings: Settings) -> str:
    """A value as the configuration file has it, else the default that the option's help has in brackets, else "-"."""
    if value is None and (in_effect := settings.value(str(option.name).replace("__", "."))) is not None:
        value = in_effect
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == ():
        default = re.search(r"\[([^][]+)\]$", option.help or "")
        return default[1] if default else "-"
    return str(value)


def origin_of(name: str, context: click.Context | None = None) -> str:
    """Where the value of an option of the running command comes from: the flag, the variable, or the file's key."""
    context = context or click.get_current_context()
    [option] = [option for option in _options(context.command) if option.name == name]
    match context.get_parameter_source(name):
        case ParameterSource.ENVIRONMENT:
            return variable(option)
        case ParameterSource.DEFAULT_MAP:
            return f"{read_config().path}: chat.{long_name(option)}"
        case ParameterSource.COMMANDLINE:
            return "/".join(option.opts)
        case _:
            return "default"


def _options(command: click.Command) -> list[click.Option]:
    return [option for option in command.params if isinstance(option, click.Option) and option.name not in _WITHOUT]


def _source(source: ParameterSource | None, option: click.Option) -> str:
    match source:
        case ParameterSource.COMMANDLINE:
            return f"flag {'/'.join(option.opts)}"
        case ParameterSource.ENVIRONMENT:
            return f"environment {variable(option)}"
        case ParameterSource.DEFAULT_MAP:
            return "configuration file"
        case _:
            return "default"
