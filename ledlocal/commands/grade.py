"""`ledlocal grade`: judge the samples of a run anew."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--grading", type=click.Choice(["answer", "paper"]), default=None,
              help="answer: what stands behind the thinking; paper: the whole completion. [as the run was asked]")
def grade(run: Path, grading: str | None) -> None:
    """Judge all samples of RUN again, without the model, and write its scores and summary anew."""
    from ledlocal.evals.plan import plan_of
    from ledlocal.evals.report import write_report
    from ledlocal.evals.run import regrade
    from ledlocal.evals.run_folder import PLAN, RunFolder
    from ledlocal.evals.tables import summary_tables
    from ledlocal.tables import lines
    from ledlocal.terminal import Console

    console = Console()
    with RunFolder(run, create=False) as folder:
        summary = regrade(folder, grading or plan_of(run / PLAN).grading)
        write_report(folder.path)
    for line in lines(summary_tables(summary)):
        console.out.line(line)
