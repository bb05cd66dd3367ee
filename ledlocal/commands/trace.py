"""`ledlocal trace`: a recorded trace, readable."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ledlocal.values.errors import BadInput


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tui", is_flag=True, help="On a whole screen: every token's layers, candidates, coin and draw.")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="[auto]")
@click.option("--layers", is_flag=True, help="Also what each layer thinks, where the layers were looked into.")
def trace(file: Path, tui: bool, layers: bool, color: Any) -> None:
    """Show a FILE written by `chat --trace`: token by token, where the model explored and what came of it."""
    from ledlocal.terminal import Screen
    from ledlocal.trace import print_trace

    if not tui:
        print_trace(file, Screen(sys.stdout, color), layers)
    elif layers or color != "auto":
        raise BadInput("--layers and --color are for the table; --tui shows every layer, without colours if NO_COLOR=1")
    else:
        _browse(file)


def _browse(file: Path) -> None:
    from ledlocal.safe_text import safe_line
    from ledlocal.terminal import Console, require_drawable
    from ledlocal.trace import read_trace, replies_of

    require_drawable("without --tui, the trace is a table that goes into a pipe, too")
    with Console().waiting(f"reading {safe_line(str(file))}"):
        replies = replies_of(read_trace(file))
        from ledlocal_tui.screens.recording import Recording
        from ledlocal_tui.viewer import Viewer
    Viewer(Recording(replies)).show()
