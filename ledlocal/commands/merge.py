"""`ledlocal merge`: shards of a run to one."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))
def merge(out: Path, shards: tuple[Path, ...]) -> None:
    """Join SHARDS, made by `ledlocal eval --shard 1/N` ... `N/N`, to the run OUT."""
    from ledlocal.evals import merge as merging
    from ledlocal.evals.report import write_report
    from ledlocal.evals.run_folder import RunFolder
    from ledlocal.evals.tables import summary_tables
    from ledlocal.tables import lines
    from ledlocal.terminal import Console

    console = Console()
    with RunFolder(out) as folder:
        summary = merging.merge(folder, shards)
        write_report(folder.path)
    for line in lines(summary_tables(summary)):
        console.out.line(line)
