"""Learning curves of a run as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from demo.log import Record, records

_WINDOW = 10
"""Iterations that are averaged."""
_PANELS = (
    (("solved", "gave_up", "false"), "share of replies"),
    (("repeated", "wrong_arithmetic", "false_yes"), "share of tries"),
    (("surprise",), "surprise, nats per token"),
    (("length",), "tokens of a reply"),
)


def draw(folder: Path, path: Path) -> None:
    """Loss of the supervised steps, and what the replies of reinforcement came to, into one SVG or PNG."""
    supervised, reinforced = records(folder / "sft.jsonl"), records(folder / "rl.jsonl")
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    axes = list(figure.subplots(2, 3).flat)
    axes[0].plot([one["step"] for one in supervised], [one["loss"] for one in supervised], linewidth=0.8)
    axes[0].set(title="supervised: loss, nats per token", xlabel="step", yscale="log")
    for axis, (names, title) in zip(axes[1:], _PANELS, strict=False):
        for name in names:
            axis.plot(*_smooth(reinforced, name), label=name.replace("_", " "))
        axis.set(title=f"reinforced: {title}", xlabel="iteration")
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False)
    axes[5].plot([one["seconds"] / 60 for one in reinforced], [one["iteration"] + 1 for one in reinforced])
    axes[5].set(title="reinforced: pace", xlabel="minutes", ylabel="iterations")
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(path)


def _smooth(lines: Sequence[Record], name: str) -> tuple[list[float], list[float]]:
    """Means of consecutive iterations."""
    parts = [lines[i:i + _WINDOW] for i in range(0, len(lines), _WINDOW)]
    return ([part[len(part) // 2]["iteration"] for part in parts],
            [sum(one[name] for one in part) / len(part) for part in parts])
