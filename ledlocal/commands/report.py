"""`ledlocal report`: a run for reading."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from ledlocal.values.errors import BadInput


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--curves", is_flag=True, help="Show the pictures here, too, as text.")
@click.option("--tui", is_flag=True, help="Write nothing; look at RUN on a whole screen, finished or not.")
def report(run: Path, curves: bool, tui: bool) -> None:
    """Write report.md, report.html and pictures (with the extra `plot`) into RUN."""
    from ledlocal.evals.report import write_report
    from ledlocal.terminal import Console, require_drawable

    if tui:
        if curves:
            raise BadInput("--curves is for a terminal without --tui, which has them on a tab")
        require_drawable("without --tui, files are written")
        from ledlocal_tui.kept_run import KeptRun
        from ledlocal_tui.screens.run import RunScreen
        from ledlocal_tui.viewer import Viewer

        Viewer(RunScreen(KeptRun(run), run)).show()
        return
    console = Console()
    for path in write_report(run):
        console.out.line(str(path))
    if curves:
        from ledlocal.evals.plot_text import terminal
        from ledlocal.evals.run import read_cells

        for line in terminal(*read_cells(run), shutil.get_terminal_size().columns - 1):
            console.out.line(line)
