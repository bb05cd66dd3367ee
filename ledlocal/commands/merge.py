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
    from ledlocal.evals.report import table_of
    from ledlocal.evals.run_folder import RunFolder
    from ledlocal.terminal import Console

    console = Console()
    with RunFolder(out) as folder:
        for line in table_of(merging.merge(folder, shards)):
            console.out.line(line)
