"""Random numbers that depend on nothing but their name, and draws that use one number each."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_KEY = struct.Struct("<QQQ")

Name = tuple[int, str, int, int]
"""Seed, problem, sample and position; the numbers are in 0 ... 2**64 - 1."""


def uniforms(names: Iterable[Name]) -> NDArray[np.float64]:
    """Coin and token of each position: independent uniforms in [0, 1), multiples of 2**-53, (R, 2).

    A counter-based generator: BLAKE2b of the name, so a draw depends on no other draw, slot or batch.
    Raises struct.error for a number out of range.
    """
    blake2b, pack = hashlib.blake2b, _KEY.pack
    digests = [blake2b(pack(seed, sample, position) + problem.encode("utf-8", "surrogatepass"), digest_size=16).digest()
               for seed, problem, sample, position in names]
    numbers: NDArray[np.uint64] = np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)
    return (numbers >> np.uint64(11)) * np.float64(2.0**-53)


def draw(weights: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.intp]:
    """Inverse CDF: the first candidate whose cumulated weight exceeds u times the total, for each row.

    `weights` (R, k) need not sum to 1; `u` (R,) in [0, 1). Returns indices (R,), never one of weight zero.
    """
    cumulated = weights.cumsum(axis=1)
    total = cumulated[:, -1]
    above = cumulated > (u * total)[:, None]
    if not above[:, -1].all():
        # Rounding may lift the target to the total, which no cumulated weight exceeds.
        above = cumulated > np.minimum(u * total, np.nextafter(total, 0.0))[:, None]
        if not above[:, -1].all():
            raise ValueError("weights to draw from must be finite and not all zero")
    first: NDArray[np.intp] = above.argmax(axis=1)
    return first
