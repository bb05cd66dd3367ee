"""Does this build's AMX code run? GCC before 11.5, 12.4 and 13.3 miscompiles it (GCC PR 114098, `_tile_loadconfig`).

A llama.cpp built by such a compiler (Debian 12 ships 12.2) dies with SIGSEGV on CPUs with AMX at the first product of
quantized weights with two or more columns. One product in a child process tells.
"""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np

from ledlocal.runtime import ggml
from ledlocal.runtime.child import run_child
from ledlocal.runtime.library import C

NOTICE = ("this build of llama.cpp crashes in its AMX kernels (GCC bug 114098): they are switched off; "
          "rebuild llama-cpp-python with GCC 12.4, 13.3 or later for faster prompts")
_Q8_0 = 8


@cache
def usable() -> bool:
    """Whether weights may be repacked for AMX; True where the library has no AMX code."""
    if b"AMX_INT8 = 1" not in C.llama_print_system_info():
        return True
    return run_child("ledlocal.runtime.amx").returncode >= 0  # below 0: ended by a signal


def _multiply() -> None:
    """One product of Q8_0 weights (64, 64) with two columns in every repacking buffer type of the CPU."""
    device = ggml.device_by_type(ggml.CPU_DEVICE)
    function = ggml.registry_function(ggml.device_registry(device), b"ggml_backend_dev_get_extra_bufts")
    types = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)(function)(device)
    backend = ggml.device_init(device, None)
    for buffer_type in iter_until_null(types):
        weights = ggml.init(4096)
        matrix = ggml.new_tensor_2d(weights, _Q8_0, 64, 64)
        ggml.alloc_tensors(weights, buffer_type)
        context = ggml.init(65536)
        graph = ggml.new_graph(context, 8, False)
        product = ggml.mul_mat(context, matrix, ggml.new_tensor_2d(context, ggml.F32, 64, 2))
        ggml.build_forward_expand(graph, product)
        if ggml.backend_supports(backend, product):  # a type that takes no such matrix must not be written to
            ggml.write(matrix, np.ones(64 * 2 * 34, np.uint8))
            ggml.gallocr_alloc(ggml.gallocr_new(ggml.device_buffer_type(device)), graph)
            ggml.graph_compute(backend, graph)


def iter_until_null(pointers: ctypes._Pointer[ctypes.c_void_p]) -> list[int]:
    """Entries of a null-terminated array of pointers."""
    found: list[int] = []
    while pointers[len(found)]:
        found.append(int(pointers[len(found)]))
    return found


if __name__ == "__main__":
    _multiply()
