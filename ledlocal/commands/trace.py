"""`ledlocal trace`: a recorded trace, readable."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="[auto]")
@click.option("--layers", is_flag=True, help="Also what each layer thinks, where the layers were looked into.")
def trace(file: Path, layers: bool, color: Any) -> None:
    """Show a FILE written by `chat --trace`: token by token, where the model explored and what came of it."""
    from ledlocal.terminal import Screen
    from ledlocal.trace import print_trace

    print_trace(file, Screen(sys.stdout, color), layers)
