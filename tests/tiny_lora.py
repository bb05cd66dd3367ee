"""A LoRA for a tiny model on its output head, and on an attention matrix where the model has one."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter
from numpy.typing import NDArray

from ledlocal.runtime.library import C
from ledlocal.runtime.llama import Context

RANK, ALPHA = 2, 4.0


def tiny_lora(path: Path, model: Path) -> NDArray[np.float32]:
    """Write it; what it adds at scale 1 to the matrix (V, E) of the output head, which must not be tied."""
    rng = np.random.default_rng(1)
    reader = GGUFReader(model)
    shapes = {tensor.name: [int(n) for n in tensor.shape[::-1]] for tensor in reader.tensors}
    writer = GGUFWriter(path, str(reader.fields["general.architecture"].contents()))
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", ALPHA)
    for name in ("blk.1.attn_q.weight", "output.weight"):
        if name in shapes:
            rows, width = shapes[name]
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


def apply_lora(context: Context, path: Path, *scales: float) -> None:
    """Use it from the next decode on, once for each scale; llama.cpp frees it with the model."""
    n = len(scales)
    adapters = [C.llama_adapter_lora_init(context.model.handle, bytes(path)) for _ in scales]
    assert all(adapters)
    assert C.llama_set_adapters_lora(context.handle, (C.llama_adapter_lora_p_ctypes * n)(*adapters), n,
                                     (ctypes.c_float * n)(*scales)) == 0
