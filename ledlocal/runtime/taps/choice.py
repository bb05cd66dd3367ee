"""Which tap runs: chosen once at load, proven on one prompt, named on screen and in every result."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ledlocal.runtime.library import is_native
from ledlocal.runtime.llama import Context, ContextParams, Model, Row
from ledlocal.runtime.taps.native import NativeTap
from ledlocal.runtime.taps.none import NoTap
from ledlocal.runtime.taps.plugin import PluginTap
from ledlocal.runtime.taps.projection import MAX_ROWS
from ledlocal.runtime.taps.protocol import Tap
from ledlocal.values.errors import LedlocalError, TapRefused
from ledlocal.values.params import TapName

LOGIT_TOLERANCE = 0.02
"""Largest difference of a logit between the plain path and the tap: kernels may differ with the graph on a GPU."""
PROBABILITY_TOLERANCE = 0.01
"""Largest difference of a probability after the cloned head: activations are rounded to fp16 or q8 in between."""


LENS_COPIES = 4
"""Arrays of a row's logits that measuring it takes: they, their softmax, what sorts them, what lies above a token."""


def tap_bytes(name: TapName, model: Model, rows: int, depth: int, lens: bool = False) -> int:
    """Bytes that a tap takes beside llama.cpp's own buffers when every one of `rows` rows explores.

    Native and plugin: softmax and sorted ids of each row's logits, and the logits of the projected hidden rows, which
    with `lens` are those of all layers.
    Reference: the output matrix in F32 on the host, rows of logits, and what gguf makes of a vocabulary, 3.5 KB per
    token (measured).
    """
    if name == "none":
        return 0
    if name == "reference":
        return model.n_vocab * (4 * (model.n_embd + rows) + 3500)
    # what a sampler may return of each row (output_reserve in src/llama-context.cpp)
    samplers = 0 if name == "native" or (name == "auto" and is_native()) else 3 * rows
    projected = LENS_COPIES * min(MAX_ROWS, model.n_layer * rows) if lens else min(MAX_ROWS, depth * rows)
    return 4 * model.n_vocab * (samplers + 2 * rows + projected)


def open_tap(name: TapName, model: Model, params: ContextParams, layers: tuple[int, ...]) -> tuple[Context, Tap, str]:
    """A context with its tap attached, and a sentence if `auto` had to do without.

    Raises TapRefused if a tap that was asked for by name cannot run.
    """
    if name == "none":
        return *_attach(NoTap(), model, params, layers), ""
    if name == "reference":
        # gguf is slow to import, and only this tap needs it
        from ledlocal.runtime.taps.reference import ReferenceTap

        return *_attach(ReferenceTap(model.path), model, params, layers), ""
    context = Context(model, params)
    tap: Tap | None = None
    try:
        if model.needs_output:
            raise TapRefused("its graph writes into parts of the logits")
        tap = NativeTap() if name == "native" or (name == "auto" and is_native()) else PluginTap()
        _self_test(context, tap, layers)
        return context, tap, ""
    except LedlocalError as refusal:
        if tap is not None:
            tap.detach()
        context.close()
        if name != "auto":
            raise TapRefused(f"{model.path}: tap {name} cannot read its layers: {refusal}") from None
        why = f"the layers of {model.path.name} cannot be read: {refusal}"
        return *_attach(NoTap(why), model, params, layers), why + "; plain sampling only"


def _attach(tap: Tap, model: Model, params: ContextParams, layers: tuple[int, ...]) -> tuple[Context, Tap]:
    tap.configure(params)
    context = Context(model, params)
    try:
        tap.attach(context, layers)
    except BaseException:
        context.close()
        raise
    return context, tap


def _self_test(context: Context, tap: Tap, layers: tuple[int, ...]) -> None:
    """Attach, and compare with llama.cpp's own logits and with the final layer sent through the cloned head."""
    want = _probe(context)
    tap.attach(context, layers)
    inv_temp = np.full(1, 1 / 0.8)
    tap.prepare(inv_temp)
    _probe(context, read=False)
    final = tap.topk()
    if not np.isfinite(final.logsumexp).all():
        return  # a model with NaN weights: every sample is stopped where it shows
    difference = float(np.abs(final.logits[0] - want[final.ids[0]]).max())
    if not difference <= LOGIT_TOLERANCE or final.logits[0, 0] < want.max() - LOGIT_TOLERANCE:
        raise TapRefused(f"the self-test failed: logits differ by {difference:.3g} from the plain path")
    last = context.model.n_layer
    again = tap.project(np.array([0]), final.ids[:, :8], [last], True, inv_temp)[0, 0]
    difference = float(np.abs(again - final.probs()[0, :8]).max())
    if not difference <= PROBABILITY_TOLERANCE:
        raise TapRefused(f"the self-test failed: the cloned head is off by {difference:.3g} in probability")


def _probe(context: Context, read: bool = True) -> NDArray[np.float32]:
    """Decode three tokens as the scheduler would; the logits of the last one if `read`."""
    tokens = [min(7 * i + 3, context.model.n_vocab - 1) for i in range(3)]
    context.decode([Row(token, i, 0, False) for i, token in enumerate(tokens[:-1])])
    context.decode([Row(tokens[-1], 2, 0, True)])
    logits = context.logits(0) if read else np.empty(0, np.float32)
    context.synchronize()
    context.forget(0)
    return logits
