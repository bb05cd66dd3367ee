"""Random numbers that depend on nothing but their name, and draws that use one number each."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
from numpy.typing import NDArray

_KEY = struct.Struct("<QQQ")
_DIGEST = struct.Struct("<QQ")


def uniforms(seed: int, problem: str, sample: int, position: int) -> tuple[float, float]:
    """Coin and token of one position: two independent uniforms in [0, 1), multiples of 2**-53.

    A counter-based generator: BLAKE2b of the key, so a draw depends on no other draw, slot or batch.
    `seed`, `sample` and `position` are in 0 ... 2**64 - 1, otherwise struct.error.
    """
    key = _KEY.pack(seed, sample, position) + problem.encode("utf-8", "surrogatepass")
    coin, token = _DIGEST.unpack(hashlib.blake2b(key, digest_size=_DIGEST.size).digest())
    return (coin >> 11) * 2.0**-53, (token >> 11) * 2.0**-53


def draw(weights: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.intp]:
    """Inverse CDF: the first candidate whose cumulated weight exceeds u times the total, for each row.

    `weights` (R, k) need not sum to 1; `u` (R,) in [0, 1). Returns indices (R,), never one of weight zero.
    """
    cumulated = np.cumsum(weights, axis=1)
    total = cumulated[:, -1]
    # Rounding must not lift the target to the total, which no cumulated weight exceeds.
    target = np.minimum(u * total, np.nextafter(total, 0.0))
    above = cumulated > target[:, None]
    if not above[:, -1].all():
        raise ValueError("weights to draw from must be finite and not all zero")
    first: NDArray[np.intp] = above.argmax(axis=1)
    return first
