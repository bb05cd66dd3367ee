"""What a model and a context on it take, asked of llama.cpp itself: it plans its buffers without allocating them.

The plan is exact for every architecture, cache and split over devices. It is what `llama_get_memory_breakdown`
(src/llama-ext.h) returns, a std::map of libstdc++, read here node by node: on Linux, with the pinned release.
"""

from __future__ import annotations

import ctypes as c
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from ledlocal.runtime import ggml
from ledlocal.runtime.install import PINNED
from ledlocal.runtime.library import C
from ledlocal.runtime.llama import Context, ContextParams, Model
from ledlocal.runtime.memory import HOST, Need, available_memory
from ledlocal.runtime.taps.choice import tap_bytes
from ledlocal.values.errors import BadInput, LedlocalError, OutOfResources
from ledlocal.values.params import EngineOptions


class _Map(c.Structure):
    """std::map: comparator, root node {color, parent, left, right}, size."""

    _fields_ = (("compare", c.c_size_t), ("color", c.c_size_t), ("root", c.c_void_p), ("first", c.c_void_p),
                ("last", c.c_void_p), ("size", c.c_size_t))


class _Node(c.Structure):
    """A node of that map: buffer type -> model, context, compute."""

    _fields_ = (("color", c.c_size_t), ("parent", c.c_void_p), ("left", c.c_void_p), ("right", c.c_void_p),
                ("buffer_type", c.c_void_p), ("model", c.c_size_t), ("context", c.c_size_t), ("compute", c.c_size_t))


def _breakdown() -> c._NamedFuncPointer | None:
    """The library's function; None where its answer cannot be read."""
    if sys.platform != "linux" or version("llama-cpp-python") != PINNED:
        return None
    function: c._NamedFuncPointer | None = getattr(C._lib, "_Z26llama_get_memory_breakdownPK13llama_context", None)
    if function is not None:
        function.restype, function.argtypes = _Map, (c.c_void_p,)
    return function


class Footprint:
    """A model without its weights, on which contexts are planned."""

    def __init__(self, options: EngineOptions, extra_buffers: bool, gpu_layers: int | None = None) -> None:
        """`gpu_layers` overrides the options'. Raises BadInput if llama.cpp refuses the file."""
        self._function = _breakdown()
        self._tap, self._depth, self._lens = options.tap, options.depth, options.lens
        self.gpu_layers = options.gpu_layers if gpu_layers is None else gpu_layers
        self.model = Model(Path(options.model), self.gpu_layers, extra_buffers, weights=False)

    @property
    def known(self) -> bool:
        """Whether this library tells."""
        return self._function is not None

    def needs(self, params: ContextParams) -> dict[str, Need]:
        """Bytes by device, `HOST` always among them.

        Raises BadInput if llama.cpp refuses such a context, LedlocalError where the library does not tell.
        """
        if self._function is None:
            raise LedlocalError("this build of llama.cpp does not tell what memory it takes")
        try:
            context = Context(self.model, params)
        except OutOfResources as error:  # nothing was allocated, so it is no lack of memory
            raise BadInput(str(error)) from None
        try:
            found = {HOST: Need()}
            for node in self._nodes(self._function(context.handle)):
                device = _device(node.buffer_type)
                found[device] = found.get(device, Need()) + Need(node.model, node.context, node.compute)
        finally:
            context.close()
        rows = params.n_outputs_max
        found[HOST] += Need(compute=4 * self.model.n_vocab * rows)  # rows of logits
        # the output head is on the last GPU, if there is one
        place = HOST if self._tap == "reference" else max(device for device in (found.keys() - {HOST} or {HOST}))
        found[place] += Need(compute=tap_bytes(self._tap, self.model, rows, self._depth, self._lens))
        return found

    def _nodes(self, tree: _Map) -> Iterator[_Node]:
        stack, seen = [tree.root], 0
        while stack:
            if pointer := stack.pop():
                node = _Node.from_address(pointer)
                stack += [node.left, node.right]
                seen += 1
                yield node
        if seen != tree.size:
            raise LedlocalError(f"llama.cpp's memory plan is not laid out as expected: {seen} of {tree.size} entries")

    def free(self, devices: dict[str, Need]) -> dict[str, int]:
        """Bytes free on those of the devices that tell."""
        found = {HOST: available_memory()}
        for i in range(ggml.device_count()):
            pointer = ggml.device_at(i)
            name = ggml.device_name(pointer).decode()
            if name in devices:
                free, total = ggml.memory_of(pointer)
                if total:
                    found[name] = free
        return found

    def close(self) -> None:
        """Free what the vocabulary took."""
        self.model.close()


def _device(buffer_type: int) -> str:
    """Name of the device that a buffer type's memory is on."""
    device = ggml.buft_device(buffer_type)
    if not device or ggml.buft_is_host(buffer_type) or ggml.device_type(device) == ggml.CPU_DEVICE:
        return HOST
    return str(ggml.device_name(device).decode())
