"""How long and how wide a run is: for two CPU cores, for a test, for one GPU."""

from __future__ import annotations

from dataclasses import dataclass

from demo import grpo, measurement, sft


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything that differs between machines."""

    sft: sft.Settings
    rl: grpo.Settings
    measurement: measurement.Settings
    width: int = 96
    heads: int = 3
    kv_heads: int = 1
    hidden: int = 256
    device: str = "cpu"
    fast: bool = False
    """Training compiled, and in bfloat16 but for weights, norms' statistics and logits: nothing gained on a CPU."""
    prompts: int = 60
    """Checked against llama.cpp, all of which must be equal where `must_be_equal`."""
    must_be_equal: bool = True


PROFILES = {
    "cpu": Profile(sft.Settings(1900), grpo.Settings(110), measurement.Settings()),
    "smoke": Profile(sft.Settings(40, rows=16), grpo.Settings(2, puzzles=4, group=4, longest=96),
                     measurement.Settings(6, 2, for_layers=4), prompts=2, must_be_equal=False),
    "gpu": Profile(sft.Settings(4000, rows=256, micro=256),
                   grpo.Settings(1500, puzzles=128, group=32, steps=8, micro=512), measurement.Settings(500, 32),
                   width=192, heads=6, kv_heads=2, hidden=512, device="cuda", fast=True),
}
SEED = 1
