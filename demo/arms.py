"""LED as a way to sample the replies that reinforcement learns from (section 5 of arXiv 2602.01698).

python -m demo.arms: the same supervised model reinforced with standard rollouts, with LED, and with LED's own
truncation but no exploring; as many rollouts of the same puzzles each, seed by seed. All are measured under standard
sampling. A run that was begun goes on where it stopped, and what is there is not made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import torch

from demo import checkpoint, grpo, measurement, seeds
from demo.log import records
from demo.profile import PROFILES, SEED, Profile
from demo.rollout import PLAIN, Law
from demo.tokenizer import Tokenizer, learn
from ledlocal.values.errors import BadInput

ARMS = {
    "standard": PLAIN,
    "control": Law(top_k=8),
    "led": Law(top_k=8, layers=8),
}
_LAST = 10
"""Iterations at the end whose replies are described."""
Json = dict[str, Any]


@click.command()
@click.option("--profile", "name", type=click.Choice(["cpu", "smoke"]), default="cpu", show_default=True)
@click.option("--from", "start", type=click.Path(path_type=Path, dir_okay=False),
              help="The supervised model that all begin with.  [build/demo/PROFILE/sft.pt]")
@click.option("--into", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("build/demo/arms"),
              show_default=True)
@click.option("--seeds", "count", type=click.IntRange(1), default=3, show_default=True, help="Runs of each arm.")
@click.option("--iterations", type=click.IntRange(1), default=30, show_default=True, help="Of each run.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
def main(name: str, start: Path | None, folder: Path, count: int, iterations: int, threads: int) -> None:
    """Train every arm with every seed, seed by seed, and say what they came to."""
    torch.set_num_threads(threads)
    start = start or Path("build", "demo", name, "sft.pt")
    if not start.exists():
        raise click.UsageError(f"{start}: no such model; make demo-model trains one")
    tokenizer, results = learn(SEED), []
    profile = replace(PROFILES[name], rl=replace(PROFILES[name].rl, iterations=iterations))
    for seed in range(1, count + 1):
        for arm in ARMS:
            try:
                results.append(_run(arm, seed, profile, start, tokenizer, folder / f"{arm}-{seed}"))
            except BadInput as error:
                raise click.UsageError(str(error)) from error
            (folder / "summary.md").write_text(seeds.table(results))
    print(seeds.table(results))


def _run(arm: str, seed: int, profile: Profile, start: Path, tokenizer: Tokenizer, run: Path) -> Json:
    """Train and measure, as far as that is not done."""
    settings = replace(profile.rl, law=ARMS[arm])
    _begin(run, {**asdict(settings), "start": hashlib.sha256(start.read_bytes()).hexdigest()})
    result, trained = run / "result.json", run / "rl.pt"
    if not result.exists():
        if not trained.exists():
            model, _ = checkpoint.load(start, tokenizer)
            grpo.train(model, tokenizer, settings, seed, run, _tell(run.name), lambda: False)
        model, _ = checkpoint.load(trained, tokenizer)
        measured = measurement.measure(model, tokenizer, profile.measurement, seed)
        part = run / "result.part.json"
        part.write_text(json.dumps({"arm": arm, "seed": seed, **_spent(run), **measured}, indent=1) + "\n")
        part.rename(result)
    read: Json = json.loads(result.read_text())
    return read


def _begin(run: Path, settings: Json) -> None:
    """Write down what a run is made with. Raises BadInput where it was begun with something else."""
    run.mkdir(parents=True, exist_ok=True)
    path, said = run / "settings.json", json.dumps(settings, indent=1) + "\n"
    if path.exists() and path.read_text() != said:
        raise BadInput(f"{run} was begun with other settings or from another model: choose another --into")
    path.write_text(said)


def _spent(run: Path) -> Json:
    """Iterations, time and the replies of the last iterations."""
    lines = records(run / "rl.jsonl")
    last = lines[-_LAST:]
    return {"iterations": len(lines), "minutes": round(lines[-1]["seconds"] / 60, 1),
            "sampling minutes": round(sum(line["sampling"] for line in lines) / 60, 1),
            **{f"last {name}": round(sum(line[name] for line in last) / len(last), 4)
               for name in ("reward", "solved", "length", "surprise")}}


def _tell(name: str) -> Callable[[int, dict[str, float]], None]:
    def tell(iteration: int, measures: dict[str, float]) -> None:
        if iteration % 10 == 0:
            print(f"{name}: iteration {iteration}, {measures['seconds']:.0f} s, solved {measures['solved']:.3f}, "
                  f"{measures['length']:.0f} tokens, surprise {measures['surprise']:.3f}", flush=True)
    return tell


if __name__ == "__main__":
    main()
