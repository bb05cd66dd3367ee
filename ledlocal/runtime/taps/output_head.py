"""The output head of a model in NumPy, its weights read from the GGUF file: what turns a hidden row into logits.

Written from the graphs in llama.cpp's src/models/<architecture>.cpp at the pinned release (after the last `l_out`), on
purpose independent of the graph that llama.cpp builds: the plugin tap, which clones that graph, is tested against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from gguf import GGUFReader, dequantize
from numpy.typing import NDArray

from ledlocal.values.errors import TapRefused

_BLOCK = 4096
"""Rows of the output matrix multiplied at a time, so that no float64 copy of the whole matrix is made."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """What an architecture does between the residual stream after its last block and its logits."""

    layer_norm: bool = False
    """LayerNorm instead of RMSNorm."""
    norm_tensor: str = "output_norm"
    scale: Literal["none", "multiply", "divide"] = "none"
    """How `logit_scale` is applied, where the file has one other than 0."""
    soft_cap: float | None = None
    """Default of `final_logit_softcapping`, 0 if there is none without the key; None: the key means nothing here."""


_RULES = {
    "llama": _Rule(),
    "qwen2": _Rule(),
    "qwen3": _Rule(),
    "qwen3moe": _Rule(),
    "phi2": _Rule(layer_norm=True),
    "phi3": _Rule(),
    "mamba": _Rule(),
    "lfm2": _Rule(norm_tensor="token_embd_norm"),
    "gemma2": _Rule(soft_cap=30.0),
    "gemma3": _Rule(soft_cap=0.0),
    "granite": _Rule(scale="divide"),
    "granitehybrid": _Rule(scale="divide"),
    "command-r": _Rule(layer_norm=True, scale="multiply"),
    "cohere2moe": _Rule(layer_norm=True, scale="multiply"),
    "qwen35": _Rule(),
    "plamo3": _Rule(),
}
KNOWN = tuple(_RULES)
"""Architectures whose head is reproduced here; a test proves each against llama.cpp's own logits."""


class OutputHead:
    """Final norm, output matrix (V, E), bias, logit scale and soft cap of one GGUF file.

    The matrix is dequantized once to float32 and everything is computed in float64 from the unrounded hidden row, while
    llama.cpp rounds the row to the partner type of the matrix. Measured on the CPU (x86-64), the final layer against
    llama.cpp's own logits of standard deviation 3, largest difference (root mean square): F32 2e-6 (3e-7),
    F16 3e-3 (6e-4; rounding the row to F16 here too leaves 8e-7), Q8_0 0.07 (0.02), Q4_K 0.12 (0.03), Q6_K 0.11 (0.03).
    """

    def __init__(self, path: Path) -> None:
        """Raises TapRefused for an architecture that is not KNOWN, a split file, or a separately scaled matrix."""
        reader = GGUFReader(path)
        architecture = str(reader.fields["general.architecture"].contents())
        if architecture not in _RULES:
            raise TapRefused(f"the reference tap does not know the output head of architecture {architecture!r}; "
                             f"it knows {', '.join(KNOWN)}")
        if (parts := reader.fields.get("split.count")) is not None and int(parts.contents()) > 1:
            raise TapRefused(f"the reference tap reads models of one file, and {path.name} is part of a split one")
        tensors = {tensor.name: tensor for tensor in reader.tensors}
        if "output.scale" in tensors:
            raise TapRefused("the reference tap does not read output matrices with a separate scale (NVFP4)")
        rule = _RULES[architecture]

        def key(name: str, default: float) -> float:
            stored = reader.fields.get(f"{architecture}.{name}")
            return default if stored is None else float(stored.contents())

        def weights(name: str) -> NDArray[np.float32]:
            # a copy: F32 data would otherwise stay a view of the mapped file
            return np.array(dequantize(tensors[name].data, tensors[name].tensor_type), np.float32)

        def bias(name: str) -> NDArray[np.float64]:
            return weights(name).astype(np.float64) if name in tensors else np.zeros(1)

        self._layer_norm = rule.layer_norm
        self._eps = key(f"attention.{'layer_norm_epsilon' if rule.layer_norm else 'layer_norm_rms_epsilon'}", 0.0)
        self._cap = 0.0 if rule.soft_cap is None else key("final_logit_softcapping", rule.soft_cap)
        scale = (0.0 if rule.scale == "none" else key("logit_scale", 0.0)) or 1.0
        self._scale = 1 / scale if rule.scale == "divide" else scale
        self._norm_weight = weights(f"{rule.norm_tensor}.weight").astype(np.float64)
        self._norm_bias = bias(f"{rule.norm_tensor}.bias")
        self._matrix = weights("output.weight" if "output.weight" in tensors else "token_embd.weight")
        self._bias = bias("output.bias")

    def normed(self, hidden: NDArray[np.floating]) -> NDArray[np.float64]:
        """The model's final norm of hidden rows, (..., E)."""
        h = hidden.astype(np.float64)
        if self._layer_norm:
            h -= h.mean(-1, keepdims=True)
        h /= np.sqrt(np.square(h).mean(-1, keepdims=True) + self._eps)
        normed: NDArray[np.float64] = h * self._norm_weight + self._norm_bias
        return normed

    def logits(self, hidden: NDArray[np.floating], norm: bool) -> NDArray[np.float64]:
        """Logits (n, V) of hidden rows (n, E), with or without the final norm before the matrix."""
        h = self.normed(hidden) if norm else hidden.astype(np.float64)
        blocks = [self._matrix[i:i + _BLOCK].astype(np.float64) for i in range(0, len(self._matrix), _BLOCK)]
        z = np.concatenate([h @ block.T for block in blocks], axis=1)
        z = (z + self._bias) * self._scale
        if self._cap:
            z = self._cap * np.tanh(z / self._cap)
        return z
