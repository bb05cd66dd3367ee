"""Every layer of a step's rows, measured where their tokens are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ledlocal.runtime.taps.protocol import Tap
from ledlocal.values.events import Lens

Number = TypeVar("Number", int, float)


def look(tap: Tap, rows: Sequence[int], n_layer: int) -> dict[int, Lens]:
    """The lens of some rows of the last decode, by row; every layer must be attached."""
    if not rows:
        return {}
    at, layers = np.array(rows, np.intp), range(1, n_layer + 1)
    entropy, rank = tap.measure(at, layers, False)
    normed_entropy, normed_rank = tap.measure(at, layers, True)
    sound, normed_sound = np.isfinite(entropy), np.isfinite(normed_entropy)
    return {row: Lens(_where(sound[i], entropy[i].tolist()), _where(sound[i], rank[i].tolist()),
                      _where(normed_sound[i], normed_entropy[i].tolist()),
                      _where(normed_sound[i], normed_rank[i].tolist())) for i, row in enumerate(rows)}


def _where(sound: NDArray[np.bool_], numbers: Sequence[Number]) -> tuple[Number | None, ...]:
    """None in the place of what means nothing: without a finite entropy there is no rank either."""
    return tuple(number if good else None for good, number in zip(sound, numbers, strict=True))
