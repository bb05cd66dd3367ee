"""A LoRA for a tiny model, on one attention matrix and on the output head."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray

from ledlocal.runtime.library import C
from ledlocal.runtime.llama import Context
from ledlocal.runtime.taps.output_head import OutputHead

RANK, ALPHA = 2, 4.0


def tiny_lora(path: Path, model: Path) -> NDArray[np.float32]:
    """Write it; what it adds at scale 1 to the matrix (V, E) of the output head."""
    rng = np.random.default_rng(1)
    vocabulary, width = OutputHead(model)._matrix.shape
    writer = GGUFWriter(path, "qwen3")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for name, rows in (("blk.1.attn_q.weight", width), ("output.weight", vocabulary)):
        a = rng.standard_normal((RANK, width)).astype(np.float32) * np.float32(0.3)
        b = rng.standard_normal((rows, RANK)).astype(np.float32) * np.float32(0.3)
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", b)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    delta: NDArray[np.float32] = np.float32(ALPHA / RANK) * b @ a
    return delta


def apply_lora(context: Context, path: Path, scale: float) -> None:
    """Use it from the next decode on; llama.cpp frees it with the model."""
    adapter = C.llama_adapter_lora_init(context.model.handle, bytes(path))
    assert adapter
    adapters, scales = (C.llama_adapter_lora_p_ctypes * 1)(adapter), (ctypes.c_float * 1)(scale)
    assert C.llama_set_adapters_lora(context.handle, adapters, 1, scales) == 0
