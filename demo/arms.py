"""LED as a way to sample the replies that reinforcement learns from (section 5 of arXiv 2602.01698).

python -m demo.arms: the same supervised model reinforced with standard rollouts, with LED, and with LED's own
truncation but no exploring; as many minutes and as many seeds each. All are measured under standard sampling.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from demo import checkpoint, grpo, measurement
from demo.log import records
from demo.profile import PROFILES
from demo.rollout import PLAIN, Law
from demo.tokenizer import learn

ARMS = {
    "standard": PLAIN,
    "control": Law(top_k=8),
    "led": Law(top_k=8, layers=8),
}
_MEASURED = measurement.Settings(200, 16, for_layers=50)
_LAST = 10
"""Iterations at the end whose replies are described."""


@click.command()
@click.option("--from", "start", type=click.Path(exists=True, path_type=Path), default=Path("build/demo/cpu/sft.pt"),
              show_default=True, help="The supervised model that all begin with.")
@click.option("--into", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("build/demo/arms"),
              show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Runs of each arm.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=20, show_default=True, help="Of each run.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
def main(start: Path, folder: Path, seeds: int, minutes: float, threads: int) -> None:
    """Train every arm with every seed, seed by seed; what is there is not made again."""
    torch.set_num_threads(threads)
    tokenizer = learn(1)
    for seed in range(1, seeds + 1):
        for name, law in ARMS.items():
            run = folder / f"{name}-{seed}"
            run.mkdir(parents=True, exist_ok=True)
            result = run / "result.json"
            if not result.exists():
                model, _ = checkpoint.load(start, tokenizer)
                settings = replace(PROFILES["cpu"].rl, law=law, minutes=minutes)
                grpo.train(model, tokenizer, settings, seed, run, _tell(run.name), lambda: False)
                measured = measurement.measure(model, tokenizer, _MEASURED, seed)
                result.write_text(json.dumps({"arm": name, "seed": seed, **_spent(run), **measured}, indent=1) + "\n")
            print(result.read_text())


def _spent(run: Path) -> dict[str, Any]:
    """Iterations, time and the replies of the last iterations."""
    lines = records(run / "rl.jsonl", "iteration")
    last = lines[-_LAST:]
    return {"iterations": len(lines), "minutes": round(lines[-1]["seconds"] / 60, 1),
            "sampling minutes": round(sum(line["sampling"] for line in lines) / 60, 1),
            **{f"last {name}": round(sum(line[name] for line in last) / len(last), 4)
               for name in ("solved", "length", "surprise")}}


def _tell(name: str) -> Callable[[int, dict[str, float]], None]:
    def tell(iteration: int, measures: dict[str, float]) -> None:
        if iteration % 10 == 0:
            print(f"{name}: iteration {iteration}, {measures['seconds']:.0f} s, solved {measures['solved']:.3f}, "
                  f"{measures['length']:.0f} tokens, surprise {measures['surprise']:.3f}", flush=True)
    return tell


if __name__ == "__main__":
    main()
