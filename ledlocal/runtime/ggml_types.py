"""Tensor types of ggml at llama.cpp 0c1e57098 (vendored by llama-cpp-python 0.3.36)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

GGML_TYPES: Mapping[int, tuple[str, int, int]] = MappingProxyType({
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2), 28: ("F64", 1, 8),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8),
    2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36), 41: ("Q1_0", 128, 18), 42: ("Q2_0", 64, 18), 39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    29: ("IQ1_M", 256, 56),
})
"""Tensor types by number: name, elements per block, bytes per block (enum ggml_type and type_traits of ggml)."""


def number_of(name: str) -> int:
    """Number of a type, whatever the case of its name. Raises KeyError."""
    return _NUMBERS[name.upper()]


_NUMBERS = {name: number for number, (name, _, _) in GGML_TYPES.items()}
_UNSUPPORTED = ("I8", "I16", "I32", "I64", "F64", "Q8_1", "Q8_K")
MATRIX_TYPES = frozenset(name for name, _, _ in GGML_TYPES.values()) - frozenset(_UNSUPPORTED)
"""Types with a vec_dot in ggml-cpu.c; the others are a null pointer at the first multiplication."""
