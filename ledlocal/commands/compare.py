"""`ledlocal compare`: paired differences within a run, or between two."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("other", required=False, type=click.Path(path_type=Path))
@click.option("--margin", type=click.FloatRange(0, 100, min_open=True), default=2.0, metavar="POINTS",
              help="Differences within it count as none. [2]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def compare(run: Path, other: Path | None, margin: float, as_json: bool) -> None:
    """Whether the methods of RUN differ on the same problems, or RUN from OTHER with the same methods.

    Differences in points of pass@1 and pass@n with 95 % intervals (bootstrap over problems); p from sign flips over
    problems (exact McNemar for pass@n), by Holm's method over all comparisons shown.
    """
    from ledlocal.evals.comparison import alphas, between, to_text, within
    from ledlocal.evals.run import read_cells
    from ledlocal.evals.summary import Cell
    from ledlocal.evals.tables import alpha_tables, comparison_tables
    from ledlocal.tables import lines
    from ledlocal.terminal import Console
    from ledlocal.values.errors import BadInput

    plan, cells = read_cells(run)
    others: list[Cell] = []
    if other is None:
        found, slopes = within(plan, cells, margin / 100), list(alphas(cells, plan.samples))
    else:
        second, others = read_cells(other)
        if second.samples != plan.samples:
            raise BadInput(f"{run} has {plan.samples} samples of a problem, and {other} has {second.samples}")
        found, slopes = between(cells, others, plan.samples, (str(run), str(other)), margin / 100), []
    if as_json:
        click.echo(to_text(found, slopes, margin / 100))
        return
    console = Console()
    if not all(cell.complete for cell in chain(cells, others)):
        console.note("a run is not complete: what is compared are problems that have all samples")
    if not found:
        raise BadInput(f"{run}: nothing in it can be compared: no two methods, or no sample that has a grade")
    for line in lines(chain(comparison_tables(found), alpha_tables(slopes))):
        console.out.line(line)
