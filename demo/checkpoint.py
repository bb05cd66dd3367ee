"""What a run keeps on disk, so that the same command goes on where an interrupted one stopped."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from demo.model import Model, Shape
from demo.tokenizer import Tokenizer
from ledlocal.values.errors import BadInput

MINUTES = 5
"""Between two checkpoints."""


def save(path: Path, model: Model, tokenizer: Tokenizer, **rest: Any) -> None:
    """Weights and whatever else, whole or not at all."""
    part = path.with_suffix(".part")
    torch.save({"shape": asdict(model.shape), "weights": model.state_dict(), "merges": list(tokenizer.merges), **rest},
               part)
    part.replace(path)


def load(path: Path, tokenizer: Tokenizer, device: str = "cpu") -> tuple[Model, dict[str, Any]]:
    """The model and the rest of a checkpoint. Raises BadInput if the model reads other tokens."""
    kept: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    if kept.pop("merges", None) != list(tokenizer.merges):
        raise BadInput(f"{path} was trained with other documents or another seed: move it away to train anew")
    model = Model(Shape(**kept.pop("shape"))).to(device)
    model.load_state_dict(kept.pop("weights"))
    return model, kept


class Clock:
    """Says when the next checkpoint is due."""

    def __init__(self, minutes: float = MINUTES) -> None:
        self._seconds = 60 * minutes
        self._last = time.monotonic()

    def due(self) -> bool:
        """True once every so many minutes."""
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True
