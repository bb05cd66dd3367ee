"""Plain sampling: temperature, top-k, top-p and min-p in llama.cpp's order or in the paper's baseline's.

Both orders keep the n most probable tokens (ties: smallest id) and draw from softmax(logits / T) over them; they differ
in n. The list of the final layer decides unless the last token kept ties with the list's end: then the row is fetched.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ledlocal.methods.draws import draw
from ledlocal.methods.final import FinalLayer, FullRow
from ledlocal.values.params import Sampling


def inv_temp(sampling: Sampling) -> float:
    """1 / temperature at which the final layer's statistics are needed: llama.cpp truncates before the temperature."""
    return 1.0 if sampling.order == "llama" or sampling.temperature == 0 else 1 / sampling.temperature


def _kept_llama(final: FinalLayer, sampling: Sampling) -> NDArray[np.intp]:
    """Tokens kept (R,) by top_k -> top_p -> min_p of llama.cpp's src/llama-sampler.cpp, each with min_keep 1.

    Its float32 arithmetic is kept, so that a cumulated probability equal to top_p falls on the same side.
    """
    limited = sampling.top_k > 0 and (final.complete or sampling.top_k <= final.ids.shape[1])
    logits = final.logits[:, :sampling.top_k] if limited else final.logits
    width = logits.shape[1]
    top_p, min_p = np.float32(sampling.top_p), np.float32(sampling.min_p)
    if top_p < 1 and sampling.top_k and not limited:
        return np.full(len(logits), width)  # top_p is a share of the top_k's mass, which the list does not show
    kept: NDArray[np.intp]
    if top_p < 1:
        # exp and log of the C library are correctly rounded but for rare cases; NumPy's float32 ones are not.
        weights = np.exp((logits - logits[:, :1]).astype(np.float64)).astype(np.float32)
        total = weights.cumsum(axis=1)[:, -1] if limited else np.exp(final.logsumexp - logits[:, 0])
        mass = (weights / total.astype(np.float32, copy=False)[:, None]).cumsum(axis=1)
        kept = (mass[:, :-1] < top_p).sum(axis=1) + 1
    else:
        kept = np.full(len(logits), width)
    if min_p > 0:
        least = logits[:, :1] + np.float32(math.log(min_p))
        kept = np.minimum(kept, np.maximum((logits >= least).sum(axis=1), 1))
    return kept


def _kept_paper(final: FinalLayer, sampling: Sampling) -> NDArray[np.intp]:
    """Tokens kept (R,) by SGLang's top_k_top_p_min_p_sampling_from_probs_torch: jointly, on p = softmax(logits / T).

    A token stays if its rank is below top_k, the mass before it at most top_p, and p at least min_p times the largest.
    """
    probs = final.probs(sampling.top_k or None)
    stays = probs >= sampling.min_p * probs[:, :1]
    if sampling.top_p < 1:
        stays &= np.cumsum(probs, axis=1) - probs <= sampling.top_p
    kept: NDArray[np.intp] = np.maximum(stays.sum(axis=1), 1)
    return kept


def _kept(final: FinalLayer, sampling: Sampling) -> NDArray[np.intp]:
    """How many of each row's most probable tokens survive (R,); the list's length stands for it and more."""
    if sampling.temperature == 0:
        return np.ones(len(final.ids), np.intp)
    return (_kept_llama if sampling.order == "llama" else _kept_paper)(final, sampling)


def _weights(final: FinalLayer, sampling: Sampling, kept: NDArray[np.intp]) -> NDArray[np.float64]:
    """Unnormalised probabilities of the survivors, zero after them, (R, largest kept)."""
    width = int(kept.max(initial=0))
    logits = final.logits[:, :width].astype(np.float64)
    weights: NDArray[np.float64] = np.exp((logits - logits[:, :1]) / (sampling.temperature or 1.0))
    return weights * (np.arange(width) < kept[:, None])


def choose(final: FinalLayer, u1: NDArray[np.float64], sampling: Sampling, full_row: FullRow) -> NDArray[np.int32]:
    """The token (R,) that u1 (R,) draws; the most probable one at temperature 0."""
    kept = _kept(final, sampling)
    tokens = final.ids[np.arange(len(kept)), draw(_weights(final, sampling, kept), u1)]
    for i in final.undecided(kept):
        tokens[i] = choose(final.whole(int(i), full_row), u1[i:i + 1], sampling, full_row)[0]
    return tokens


def law(final: FinalLayer, sampling: Sampling,
        full_row: FullRow) -> list[tuple[NDArray[np.int32], NDArray[np.float64]]]:
    """Survivors (n,) by falling probability and their probabilities (n,), for each row."""
    kept = _kept(final, sampling)
    weights = _weights(final, sampling, kept)
    rows = [(final.ids[i, :n], weights[i, :n] / weights[i].sum()) for i, n in enumerate(kept)]
    for i in final.undecided(kept):
        rows[i] = law(final.whole(int(i), full_row), sampling, full_row)[0]
    return rows
