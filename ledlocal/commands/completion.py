"""`ledlocal completion`: what a shell evaluates to complete commands and flags; and what is completed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

if TYPE_CHECKING:
    from collections.abc import Iterable


def models_and_files(_context: click.Context, _parameter: click.Parameter, word: str) -> list[CompletionItem]:
    """Names of models that are here and aliases; files where none begins so."""
    from ledlocal.config import read_config
    from ledlocal.models import known

    names = [*read_config().models, *(location.name for location in known([]))]
    return _beginning(names, word) or [CompletionItem(word, type="file")]


def choices(_context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem]:
    """The words of a flag's choice."""
    return _beginning((parameter.metavar or "").split("|"), word) if "|" in (parameter.metavar or "") else []


def conversations(_context: click.Context, _parameter: click.Parameter, word: str) -> list[CompletionItem]:
    """Kept conversations; files where none begins so."""
    from ledlocal.conversation import names

    return _beginning(names(), word) or [CompletionItem(word, type="file")]


def benchmarks(_context: click.Context, _parameter: click.Parameter, word: str) -> list[CompletionItem]:
    """The paper's."""
    from ledlocal.evals.benchmark import PUBLISHED

    return _beginning(PUBLISHED, word)


def _beginning(names: Iterable[str], word: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(word)]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print completion for SHELL.

    \b
    bash: eval "$(ledlocal completion bash)"      in ~/.bashrc
    zsh:  eval "$(ledlocal completion zsh)"       in ~/.zshrc
    fish: ledlocal completion fish > ~/.config/fish/completions/ledlocal.fish
    """
    from ledlocal.cli import main

    made = get_completion_class(shell)
    assert made is not None  # the choices are click's own
    click.echo(made(main, {}, "ledlocal", "_LEDLOCAL_COMPLETE").source())
