"""`ledlocal report`: a run for reading."""

from __future__ import annotations

import shutil
from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--curves", is_flag=True, help="Show the pictures here, too, as text.")
def report(run: Path, curves: bool) -> None:
    """Write report.md, report.html and pictures (with the extra `plot`) into RUN."""
    from ledlocal.evals.report import write_report
    from ledlocal.terminal import Console

    console = Console()
    for path in write_report(run):
        console.out.line(str(path))
    if curves:
        from ledlocal.evals.plot_text import terminal
        from ledlocal.evals.run import read_cells

        for line in terminal(*read_cells(run), shutil.get_terminal_size().columns - 1):
            console.out.line(line)
