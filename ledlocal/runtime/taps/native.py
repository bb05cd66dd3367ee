"""Layers from the patched llama.cpp (patches/): the same numbers as the plugin's, computed behind a C interface.

It also takes outputs in several micro-batches, which the plugin does not.
"""

from __future__ import annotations

import ctypes as c
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledlocal.methods.final import FinalLayer, final_layer
from ledlocal.runtime.install import OVERRIDE, library_in, native_folder
from ledlocal.runtime.library import C, is_native
from ledlocal.runtime.llama import Context, ContextParams
from ledlocal.runtime.taps.protocol import TOP
from ledlocal.values.errors import LedlocalError, OutOfResources, TapRefused

_UNSUPPORTED, _ARGUMENT, _NO_ROWS, _FAILED = -1, -2, -3, -4
"""enum llama_tap_status."""


class _Params(c.Structure):
    """struct llama_tap_params (include/llama-tap.h)."""

    _fields_ = (("layers", c.POINTER(c.c_int32)), ("n_layers", c.c_int32), ("n_top", c.c_int32),
                ("top_block", c.c_int32), ("skip_logits", c.c_bool))


def _function(name: str, *arguments: Any, result: Any = c.c_int32) -> Any:
    function = getattr(C._lib, name)
    function.restype, function.argtypes = result, (c.c_void_p, *arguments)
    return function


def _absence() -> str:
    """Why the library that is loaded has no patch, and what gives one that has."""
    if not library_in(native_folder(), "llama"):
        return "the patched llama.cpp is not built; `ledlocal build` makes it"
    if override := os.environ.get(OVERRIDE):
        return f"{OVERRIDE}={override} asks for a llama.cpp without the patch; the patched one is built"
    return "the patched llama.cpp was built for another llama-cpp-python; `ledlocal build` makes it anew"


def _int32(values: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int32]:
    return np.ascontiguousarray(values, np.int32)


class NativeTap:
    """The tap of a patched library; see Tap for the calls."""

    name, why = "native", ""

    def __init__(self, top_block: int = -1) -> None:
        """`top_block`: width of the blocks of the list's search; 0: the backend's own top-k, -1: whichever is faster.

        Raises TapRefused if the library that is loaded has no patch.
        """
        if not is_native():
            raise TapRefused(_absence())
        pointer, number = c.c_void_p, c.c_int32
        self._set = _function("llama_tap_set", c.POINTER(_Params))
        self._reason = _function("llama_tap_reason", result=c.c_char_p)
        self._temperature = _function("llama_tap_temperature", pointer, number)
        self._read_top = _function("llama_tap_top", pointer, pointer, pointer, pointer)
        self._read_logits = _function("llama_tap_logits", number, pointer)
        self._read_hidden = _function("llama_tap_hidden", number, number, pointer)
        self._project = _function("llama_tap_project", pointer, pointer, number, pointer, number, c.c_bool, pointer,
                                  number, pointer)
        self._measure = _function("llama_tap_measure", pointer, number, pointer, number, c.c_bool, pointer, pointer,
                                  pointer)
        self._top_block = top_block
        self._context: Context | None = None
        self._rows_fetched = 0

    def configure(self, params: ContextParams) -> None:
        """Nothing to ask for."""

    @property
    def rows_fetched(self) -> int:
        """Full rows of logits brought to the host so far."""
        return self._rows_fetched

    def attach(self, context: Context, layers: Sequence[int], top: int = TOP) -> None:
        """Refused at once if the model cannot be tapped."""
        self._layers = (*layers, context.model.n_layer)
        self._vocabulary, self._width = context.model.n_vocab, context.model.n_embd
        self._top = min(top, self._vocabulary)
        indices = _int32([layer - 1 for layer in self._layers])
        params = _Params(indices.ctypes.data_as(c.POINTER(c.c_int32)), len(indices), self._top, self._top_block, True)
        status = self._set(context.handle, c.byref(params))
        if status:
            reason = self._why(context)
            raise TapRefused(reason) if status in (_UNSUPPORTED, _ARGUMENT) else OutOfResources(reason)
        self._context = context

    def _why(self, context: Context) -> str:
        return str((self._reason(context.handle) or b"").decode("utf-8", "backslashreplace"))

    def _checked(self, status: int) -> int:
        """A status, or raise what it says."""
        if status < 0:
            assert self._context is not None
            reason = self._why(self._context)
            if status == _NO_ROWS:
                raise LedlocalError(f"the last decode left no rows{': ' if reason else ''}{reason}")
            raise ValueError(reason) if status == _ARGUMENT else LedlocalError(reason)
        return status

    @property
    def _handle(self) -> Any:
        if self._context is None:
            raise LedlocalError("the native tap is not attached to a context")
        return self._context.handle

    def prepare(self, inv_temp: NDArray[np.float64]) -> None:
        """Before a decode with outputs: 1 / temperature per row, (R,)."""
        self._inv_temp = inv_temp
        values = np.ascontiguousarray(inv_temp, np.float32)
        self._checked(self._temperature(self._handle, values.ctypes.data, len(values)))

    def topk(self) -> FinalLayer:
        """The final layer's list, R rows."""
        rows, top = len(self._inv_temp), self._top
        if (found := self._checked(self._read_top(self._handle, None, None, None, None))) != rows:
            raise LedlocalError(f"the decode has {found} outputs, and {rows} temperatures were given")
        ids, logits = np.empty((rows, top), np.int32), np.empty((rows, top), np.float32)
        logsumexp, entropy = np.empty(rows), np.empty(rows)
        self._checked(self._read_top(self._handle, ids.ctypes.data, logits.ctypes.data, logsumexp.ctypes.data,
                                     entropy.ctypes.data))
        return final_layer(ids, logits, self._inv_temp, logsumexp, entropy, top == self._vocabulary)

    def _indices(self, layers: Sequence[int]) -> NDArray[np.int32]:
        return _int32([self._layers.index(layer) for layer in layers])

    def project(self, rows: NDArray[np.intp], ids: NDArray[np.int32], layers: Sequence[int], norm: bool,
                inv_temp: NDArray[np.float64]) -> NDArray[np.float32]:
        """Full-vocabulary posteriors of `ids` (n, k) at attached layers: (n, len(layers), k)."""
        n, k = ids.shape
        which, at, tokens = _int32(rows), self._indices(layers), _int32(ids)
        temperatures = np.ascontiguousarray(inv_temp, np.float32)
        out = np.empty((n, len(at), k), np.float32)
        self._checked(self._project(self._handle, which.ctypes.data, temperatures.ctypes.data, n, at.ctypes.data,
                                    len(at), norm, tokens.ctypes.data, k, out.ctypes.data))
        return out

    def measure(self, rows: NDArray[np.intp], layers: Sequence[int], norm: bool) -> tuple[
            NDArray[np.float64], NDArray[np.int64]]:
        """Entropy (nats, temperature 1) and rank of the final top-1 token: (n, len(layers)) each."""
        which, at = _int32(rows), self._indices(layers)
        top1 = _int32(self.topk().ids[rows, 0])
        entropy, rank = np.empty((len(which), len(at))), np.empty((len(which), len(at)), np.int64)
        self._checked(self._measure(self._handle, which.ctypes.data, len(which), at.ctypes.data, len(at), norm,
                                    top1.ctypes.data, entropy.ctypes.data, rank.ctypes.data))
        return entropy, rank

    def hidden(self, rows: NDArray[np.intp], layer: int) -> NDArray[np.float32]:
        """The residual stream after an attached layer, or the last, for n rows: (n, E)."""
        out = np.empty((len(rows), self._width), np.float32)
        [at] = self._indices([layer])
        for i, row in enumerate(rows):
            self._checked(self._read_hidden(self._handle, int(row), int(at), out[i].ctypes.data))
        return out

    def row(self, i: int) -> NDArray[np.float32]:
        """Raw logits of row i, (V,)."""
        self._rows_fetched += 1
        out = np.empty(self._vocabulary, np.float32)
        self._checked(self._read_logits(self._handle, i, out.ctypes.data))
        return out

    def detach(self) -> None:
        """Let go of the context."""
        if self._context is not None:
            self._set(self._context.handle, None)
            self._context = None
