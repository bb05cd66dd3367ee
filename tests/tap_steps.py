"""Contexts with a tap, and one step on them: what the tests of taps share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ledlocal.runtime.library import is_native, library_path
from ledlocal.runtime.llama import Context, ContextParams, Model, Row, context_params
from ledlocal.runtime.taps.native import NativeTap
from ledlocal.runtime.taps.plugin import PluginTap
from ledlocal.runtime.taps.protocol import Tap

TOP = 20
FAST = ("plugin", "native", "native, block-max top-k")
NATIVE = is_native() or "LEDLOCAL_TEST_NATIVE" in os.environ
"""The patched library is there, or has to be."""


def fast_tap(name: str) -> Tap:
    """One of FAST; skips where the patched library is not built, unless LEDLOCAL_TEST_NATIVE says that it must be."""
    if name == "plugin":
        return PluginTap()
    if not is_native():
        assert "LEDLOCAL_TEST_NATIVE" not in os.environ, f"{library_path()} has no patch"
        pytest.skip(f"{library_path()} has no patch; make native")
    return NativeTap() if name == "native" else NativeTap(top_block=8)


@contextmanager
def loaded(path: Path) -> Iterator[Model]:
    model = Model(path)
    try:
        yield model
    finally:
        model.close()


@contextmanager
def opened(model: Model, tap: Tap, layers: Sequence[int], sequences: int = 3, unified: bool = False,
           top: int = TOP) -> Iterator[Context]:
    params = context_params(64, sequences, 64, 1, unified)
    tap.configure(params)
    context = Context(model, params)
    try:
        tap.attach(context, layers, top)
        yield context
        tap.detach()
    finally:
        context.close()


def step(tap: Tap, context: Context, inv_temp: NDArray[np.float64]) -> None:
    """Prompts of different lengths, then an output row of each sequence."""
    rows = []
    for sequence in range(context.n_seq_max):
        prompt = b"hello"[sequence:]
        context.decode([Row(token, i, sequence, False) for i, token in enumerate(prompt)])
        rows.append(Row(7 + sequence, len(prompt), sequence, True))
    tap.prepare(inv_temp)
    context.decode(rows)


def wide_params(ubatch: int, sequences: int, unified: bool, outputs: int = 64) -> ContextParams:
    """Of a context that takes up to `outputs` outputs of each sequence anywhere in its batches."""
    params = context_params(256, sequences, 512, 1, unified)
    params.n_ubatch = ubatch
    params.n_outputs_max = outputs * sequences
    params.n_outputs_max_per_seq = outputs
    return params


@contextmanager
def context_of(model: Model, params: ContextParams) -> Iterator[Context]:
    context = Context(model, params)
    try:
        yield context
    finally:
        context.close()
