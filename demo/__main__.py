"""python -m demo: train the embedded model from nothing, or go on where an earlier run stopped."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click
import torch

from demo.profile import PROFILES, SEED
from demo.recipe import Recipe
from ledlocal.values.errors import BadInput

UNFINISHED = 75
"""Exit code of a run that ended with its minutes, to be called again (EX_TEMPFAIL)."""


@click.command()
@click.option("--profile", "name", type=click.Choice(list(PROFILES)), default="cpu", show_default=True,
              help="cpu: two cores. gpu: one CUDA device, not tried on one yet. smoke: for a test.")
@click.option("--into", "folder", type=click.Path(path_type=Path, file_okay=False), help="[build/demo/PROFILE]")
@click.option("--seed", type=int, default=SEED, show_default=True)
@click.option("--minutes", type=click.FloatRange(0), default=0,
              help=f"Stop training with a checkpoint after so long; exit code {UNFINISHED}: the same command goes on.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--device", help="In place of the profile's: rehearse gpu on a CPU.")
def main(name: str, folder: Path | None, seed: int, minutes: float, threads: int, device: str | None) -> None:
    """Train, export, check and measure the embedded model; the same command goes on where it was interrupted."""
    torch.set_num_threads(threads)
    profile = PROFILES[name] if device is None else replace(PROFILES[name], device=device)
    if profile.device == "cuda" and not torch.cuda.is_available():
        raise click.UsageError("this profile needs a CUDA device, which PyTorch does not find")
    try:
        finished = Recipe(profile, folder or Path("build", "demo", name), seed, minutes).run()
    except BadInput as error:
        raise click.UsageError(str(error)) from error
    if not finished:
        sys.exit(UNFINISHED)


if __name__ == "__main__":
    main()
