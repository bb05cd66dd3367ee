"""GGUF files of the shapes of the paper's models: real vocabularies, templates, layers and heads; random weights.

Vocabularies and templates are those of the llama-cpp-python sdist. The width is cut so that a file takes 40 to 200 MB;
heads of qwen2, which may not be wider than the model, are cut with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bad_ggufs import Gguf, Tensor
from numpy.typing import NDArray
from parsed_gguf import parse

HIDDEN = 128
F16 = 1


@dataclass(frozen=True)
class Shape:
    """What is kept of a model."""

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    width: int
    vocabulary: str
    template: str
    specials: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Tokens that the sdist's vocabulary does not have: id -> text and type (3 control, 4 user-defined)."""
    experts: int = 0
    opened: bool = True
    """The template opens the thought; else the model does."""


THINK = {151667: ("<think>", 4), 151668: ("</think>", 4)}
R1_LLAMA = {128000: ("<｜begin▁of▁sentence｜>", 3), 128001: ("<｜end▁of▁sentence｜>", 3), 128011: ("<｜User｜>", 3),
            128012: ("<｜Assistant｜>", 3), 128013: ("<think>", 4), 128014: ("</think>", 4)}
THINKING_TAIL = "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n<think>\\n' }}\n{%- endif %}"
SHAPES = {
    "Qwen3-4B-Thinking-2507": Shape("qwen3", 36, 32, 8, 128, 64, "qwen2", "Qwen-Qwen3-0.6B", THINK),
    "MiMo-7B-RL": Shape("qwen2", 36, 32, 8, 8, 256, "qwen2", "MiMo-VL", THINK, opened=False),
    "Qwen3-30B-A3B-Thinking": Shape("qwen3moe", 48, 32, 4, 128, 64, "qwen2", "Qwen-Qwen3-0.6B", THINK, experts=4),
    "QwQ-32B": Shape("qwen2", 64, 40, 8, 8, 320, "qwen2", "Qwen-QwQ-32B", THINK),
    "DeepSeek-R1-Distill-Llama-8B": Shape("llama", 32, 32, 8, 128, 64, "llama-bpe",
                                          "deepseek-ai-DeepSeek-R1-Distill-Llama-8B", R1_LLAMA),
}


def paper_model(path: Path, name: str, sdist: Path) -> Path:
    """Write one of SHAPES to `path`."""
    shape, models = SHAPES[name], sdist / "vendor" / "llama.cpp" / "models"
    metadata = parse((models / f"ggml-vocab-{shape.vocabulary}.gguf").read_bytes()).metadata
    metadata = {key: value for key, value in metadata.items() if str(key).startswith("tokenizer.")}
    texts, types = list(metadata["tokenizer.ggml.tokens"][1]), list(metadata["tokenizer.ggml.token_type"][1])
    for i, (text, kind) in shape.specials.items():
        texts[i], types[i] = text.encode(), kind
    metadata["tokenizer.ggml.tokens"] = "[str]", texts
    metadata["tokenizer.ggml.token_type"] = "[i32]", types
    template = (models / "templates" / f"{shape.template}.jinja").read_text(encoding="utf-8")
    if shape.template == "Qwen-Qwen3-0.6B":  # of the same family; those that always think open the thought
        template = template.partition("{%- if add_generation_prompt %}")[0] + THINKING_TAIL
    metadata |= {"general.architecture": ("str", shape.architecture), "general.name": ("str", name),
                 "tokenizer.chat_template": ("str", template)}
    metadata |= {f"{shape.architecture}.{key}": value for key, value in _keys(shape).items()}
    path.write_bytes(Gguf(metadata, _tensors(shape, len(texts))).build())
    return path


def _keys(shape: Shape) -> dict[str, tuple[str, Any]]:
    keys: dict[str, tuple[str, Any]] = {
        "block_count": ("u32", shape.layers), "context_length": ("u32", 262_144),
        "embedding_length": ("u32", shape.width), "feed_forward_length": ("u32", HIDDEN),
        "attention.head_count": ("u32", shape.heads),
        "attention.head_count_kv": ("u32", shape.kv_heads), "attention.key_length": ("u32", shape.head_width),
        "attention.value_length": ("u32", shape.head_width), "rope.dimension_count": ("u32", shape.head_width),
        "attention.layer_norm_rms_epsilon": ("f32", 1e-6), "rope.freq_base": ("f32", 1e6)}
    if shape.experts:
        keys |= {"expert_count": ("u32", shape.experts), "expert_used_count": ("u32", 2),
                 "expert_feed_forward_length": ("u32", HIDDEN)}
    return keys


def _tensors(shape: Shape, vocabulary: int) -> dict[str, Tensor]:
    rng, width = np.random.default_rng(0), shape.width

    def matrix(*dims: int) -> Tensor:
        values: NDArray[np.float16] = (rng.standard_normal(dims, np.float32) / np.sqrt(dims[-1])).astype(np.float16)
        return Tensor(values, F16, dims[::-1])

    def ones(n: int) -> Tensor:
        return Tensor(np.ones(n, np.float32))

    query, key = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    tensors = {"token_embd.weight": matrix(vocabulary, width), "output.weight": matrix(vocabulary, width),
               "output_norm.weight": ones(width)}
    for i in range(shape.layers):
        block = {"attn_norm.weight": ones(width), "ffn_norm.weight": ones(width), "attn_q.weight": matrix(query, width),
                 "attn_k.weight": matrix(key, width), "attn_v.weight": matrix(key, width),
                 "attn_output.weight": matrix(width, query)}
        if shape.architecture == "qwen2":
            block |= {f"attn_{part}.bias": Tensor(np.zeros(n, np.float32))
                      for part, n in (("q", query), ("k", key), ("v", key))}
        if shape.architecture.startswith("qwen3"):
            block |= {"attn_q_norm.weight": ones(shape.head_width), "attn_k_norm.weight": ones(shape.head_width)}
        if shape.experts:
            block |= {"ffn_gate_inp.weight": Tensor(rng.standard_normal((shape.experts, width)).astype(np.float32)),
                      "ffn_gate_exps.weight": matrix(shape.experts, HIDDEN, width),
                      "ffn_up_exps.weight": matrix(shape.experts, HIDDEN, width),
                      "ffn_down_exps.weight": matrix(shape.experts, width, HIDDEN)}
        else:
            block |= {"ffn_gate.weight": matrix(HIDDEN, width), "ffn_up.weight": matrix(HIDDEN, width),
                      "ffn_down.weight": matrix(width, HIDDEN)}
        tensors |= {f"blk.{i}.{part}": tensor for part, tensor in block.items()}
    return tensors
