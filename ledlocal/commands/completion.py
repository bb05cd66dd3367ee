"""`ledlocal completion`: what a shell evaluates to complete commands and flags."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


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
