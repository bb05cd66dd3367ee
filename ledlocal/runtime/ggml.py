"""The few ggml functions and the one struct that the taps need, mirrored for the pinned llama.cpp.

`check_layout` makes a tensor and reads it back through the mirror, so a library with another layout is refused
instead of misread. Upstream: ggml/include/ggml.h, ggml-alloc.h, ggml-backend.h at the commit in patches/BASE.
"""

from __future__ import annotations

import ctypes as c
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ledlocal.runtime.install import PINNED
from ledlocal.runtime.library import C
from ledlocal.values.errors import TapRefused

F32, I32 = 0, 26
"""enum ggml_type."""
OP_NONE = 0
"""enum ggml_op: a leaf (weight or input)."""
FLAG_INPUT = 1
"""enum ggml_tensor_flag."""

Pointer = c.c_void_p


class Tensor(c.Structure):
    """struct ggml_tensor."""

    _fields_ = (
        ("type", c.c_int), ("buffer", Pointer), ("ne", c.c_int64 * 4), ("nb", c.c_size_t * 4), ("op", c.c_int),
        ("op_params", c.c_int32 * 16), ("flags", c.c_int32), ("src", Pointer * 10), ("view_src", Pointer),
        ("view_offs", c.c_size_t), ("data", Pointer), ("name", c.c_char * 64), ("extra", Pointer),
        ("padding", c.c_char * 8),
    )


class _InitParams(c.Structure):
    _fields_ = (("mem_size", c.c_size_t), ("mem_buffer", Pointer), ("no_alloc", c.c_bool))


def _function(name: str, result: Any, *arguments: Any) -> Any:
    # dlsym on libllama's handle also finds the symbols of the ggml libraries that it loaded
    function = getattr(C._lib, name)
    function.restype, function.argtypes = result, arguments
    return function


_i64 = c.c_int64
get_rows = _function("ggml_get_rows", Pointer, Pointer, Pointer, Pointer)
concat = _function("ggml_concat", Pointer, Pointer, Pointer, Pointer, c.c_int)
mul_mat = _function("ggml_mul_mat", Pointer, Pointer, Pointer, Pointer)
mul = _function("ggml_mul", Pointer, Pointer, Pointer, Pointer)
soft_max = _function("ggml_soft_max", Pointer, Pointer, Pointer)
soft_max_inplace = _function("ggml_soft_max_inplace", Pointer, Pointer, Pointer)
sum_rows = _function("ggml_sum_rows", Pointer, Pointer, Pointer)
top_k = _function("ggml_top_k", Pointer, Pointer, Pointer, c.c_int)
mul_inplace = _function("ggml_mul_inplace", Pointer, Pointer, Pointer, Pointer)
sub = _function("ggml_sub", Pointer, Pointer, Pointer, Pointer)
step = _function("ggml_step", Pointer, Pointer, Pointer)
reshape_2d = _function("ggml_reshape_2d", Pointer, Pointer, Pointer, _i64, _i64)
reshape_3d = _function("ggml_reshape_3d", Pointer, Pointer, Pointer, _i64, _i64, _i64)
new_tensor_1d = _function("ggml_new_tensor_1d", Pointer, Pointer, c.c_int, _i64)
new_tensor_2d = _function("ggml_new_tensor_2d", Pointer, Pointer, c.c_int, _i64, _i64)
view_2d = _function("ggml_view_2d", Pointer, Pointer, Pointer, _i64, _i64, c.c_size_t, c.c_size_t)
set_name = _function("ggml_set_name", Pointer, Pointer, c.c_char_p)
set_input = _function("ggml_set_input", None, Pointer)
set_output = _function("ggml_set_output", None, Pointer)
graph_get_tensor = _function("ggml_graph_get_tensor", Pointer, Pointer, c.c_char_p)
build_forward_expand = _function("ggml_build_forward_expand", None, Pointer, Pointer)
_init = _function("ggml_init", Pointer, _InitParams)
free = _function("ggml_free", None, Pointer)
new_graph = _function("ggml_new_graph_custom", Pointer, Pointer, c.c_size_t, c.c_bool)
buft_device = _function("ggml_backend_buft_get_device", Pointer, Pointer)
buft_is_host = _function("ggml_backend_buft_is_host", c.c_bool, Pointer)
buffer_type = _function("ggml_backend_buffer_get_type", Pointer, Pointer)
device_by_type = _function("ggml_backend_dev_by_type", Pointer, c.c_int)
device_count = _function("ggml_backend_dev_count", c.c_size_t)
device_at = _function("ggml_backend_dev_get", Pointer, c.c_size_t)
device_name = _function("ggml_backend_dev_name", c.c_char_p, Pointer)
device_description = _function("ggml_backend_dev_description", c.c_char_p, Pointer)
_device_memory = _function("ggml_backend_dev_memory", None, Pointer, c.POINTER(c.c_size_t), c.POINTER(c.c_size_t))
device_type = _function("ggml_backend_dev_type", c.c_int, Pointer)
device_init = _function("ggml_backend_dev_init", Pointer, Pointer, c.c_char_p)
device_registry = _function("ggml_backend_dev_backend_reg", Pointer, Pointer)
registry_function = _function("ggml_backend_reg_get_proc_address", Pointer, Pointer, c.c_char_p)
device_supports = _function("ggml_backend_dev_supports_buft", c.c_bool, Pointer, Pointer)
device_buffer_type = _function("ggml_backend_dev_buffer_type", Pointer, Pointer)
backend_supports = _function("ggml_backend_supports_op", c.c_bool, Pointer, Pointer)
backend_free = _function("ggml_backend_free", None, Pointer)
alloc_tensors = _function("ggml_backend_alloc_ctx_tensors_from_buft", Pointer, Pointer, Pointer)
buffer_free = _function("ggml_backend_buffer_free", None, Pointer)
gallocr_new = _function("ggml_gallocr_new", Pointer, Pointer)
gallocr_free = _function("ggml_gallocr_free", None, Pointer)
gallocr_size = _function("ggml_gallocr_get_buffer_size", c.c_size_t, Pointer, c.c_int)
gallocr_alloc = _function("ggml_gallocr_alloc_graph", c.c_bool, Pointer, Pointer)
graph_compute = _function("ggml_backend_graph_compute", c.c_int, Pointer, Pointer)
_op_name = _function("ggml_op_name", c.c_char_p, c.c_int)
_tensor_get = _function("ggml_backend_tensor_get", None, Pointer, Pointer, c.c_size_t, c.c_size_t)
_tensor_set = _function("ggml_backend_tensor_set", None, Pointer, Pointer, c.c_size_t, c.c_size_t)

CPU_DEVICE = 0
"""enum ggml_backend_dev_type."""


def tensor(pointer: int) -> Tensor:
    """The struct at a ggml_tensor pointer."""
    return Tensor.from_address(pointer)


def op(pointer: int) -> bytes:
    """What a node computes: b"MUL_MAT", b"GET_ROWS", ...; b"NONE" is a leaf."""
    return op_name(tensor(pointer))


def op_name(node: Tensor) -> bytes:
    """The same of a copied struct."""
    return bytes(_op_name(node.op))


def memory_of(device: int) -> tuple[int, int]:
    """Bytes free on a device, and all of them; 0 where its backend does not tell."""
    free_bytes, total = c.c_size_t(), c.c_size_t()
    _device_memory(device, free_bytes, total)
    return free_bytes.value, total.value


def imitate(pointer: int, node: Tensor, sources: Sequence[int]) -> None:
    """Let a new tensor be computed from `sources` (0: none) as `node` is from its own."""
    twin = tensor(pointer)
    twin.op = node.op
    twin.op_params[:] = node.op_params[:]
    for i, source in enumerate(sources):
        twin.src[i] = source or None


def init(size: int) -> int:
    """A ggml context that holds tensor headers only."""
    return int(_init(_InitParams(size, None, True)))


def read(pointer: int, shape: tuple[int, ...], dtype: DTypeLike, offset: int = 0) -> NDArray[Any]:
    """Copy `shape` elements of a tensor's data, from byte `offset` on, to the host."""
    out = np.empty(shape, dtype)
    if out.nbytes:
        _tensor_get(pointer, out.ctypes.data, offset, out.nbytes)
    return out


def write(pointer: int, values: NDArray[Any]) -> None:
    """Copy a host array to the start of a tensor's data."""
    values = np.ascontiguousarray(values)
    if values.nbytes:
        _tensor_set(pointer, values.ctypes.data, 0, values.nbytes)


def check_layout() -> None:
    """Raise TapRefused unless this library is the pinned one and its tensors look as mirrored here."""
    found = version("llama-cpp-python")
    if found != PINNED:
        raise TapRefused(f"the plugin tap mirrors llama-cpp-python {PINNED}, and {found} is installed")
    context = init(4096)
    pointer = new_tensor_2d(context, I32, 5, 3)
    set_name(pointer, b"ledlocal-layout")
    mirror = tensor(pointer)
    row = get_rows(context, new_tensor_2d(context, F32, 7, 3), new_tensor_1d(context, I32, 2))
    same = (
        mirror.type == I32 and list(mirror.ne) == [5, 3, 1, 1] and list(mirror.nb)[:2] == [4, 20]
        and mirror.name == b"ledlocal-layout" and mirror.op == OP_NONE and not mirror.src[0]
        and list(tensor(row).ne) == [7, 2, 1, 1] and bool(tensor(row).src[0]) and bool(tensor(row).src[1])
        and not tensor(row).src[2] and tensor(row).op != OP_NONE
    )
    free(context)
    if not same:
        raise TapRefused("ggml's tensor struct is laid out differently from the pinned release")
