"""Write a GGUF of a real model's shape, filled with random weights: for timing, not for talking.

    python benchmarks/synthetic_model.py qwen3-0.6b /tmp/qwen3-0.6b-q8_0.gguf
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from numpy.typing import NDArray


@dataclass(frozen=True)
class Shape:
    """Dimensions of a qwen3 model with tied embeddings."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    feed_forward: int
    vocabulary: int


SHAPES = {
    "qwen3-0.6b": Shape(28, 1024, 16, 8, 128, 3072, 151_936),
    "qwen3-4b": Shape(36, 2560, 32, 8, 128, 9728, 151_936),
    "small": Shape(8, 256, 4, 2, 64, 512, 151_936),
}
CHATML = ("{%- for message in messages -%}"
          "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
          "{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}")


def q8_0(rng: np.random.Generator, rows: int, columns: int, scale: float) -> NDArray[np.uint8]:
    """Random Q8_0 blocks, (rows, bytes per row): an fp16 scale and 32 signed bytes each."""
    blocks = rng.integers(0, 256, (rows, columns // 32, 34), np.uint8)
    # uniform int8 values have a standard deviation of 74
    blocks[:, :, :2] = np.full(1, scale / 74, np.float16).view(np.uint8)
    return blocks.reshape(rows, -1)


def byte_tokens() -> list[str]:
    """GPT-2's printable names of the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    names = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [names[b] for b in range(256)]


def write_vocabulary(writer: GGUFWriter, size: int) -> None:
    """Byte tokens, ChatML and thinking markers, and words that no text produces."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    tokens = byte_tokens()
    words = [f"word{i}" for i in range(size - len(tokens) - len(special))]
    types = [TokenType.NORMAL] * (len(tokens) + len(words)) + [TokenType.CONTROL] * 3 + [TokenType.USER_DEFINED] * 2
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens + words + special)
    writer.add_token_types(types)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(size - 3)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)


def write_model(path: Path, shape: Shape, seed: int = 0) -> None:
    """Write the file, about 0.6 GB for qwen3-0.6b, 4.3 GB for qwen3-4b."""
    rng = np.random.default_rng(seed)
    writer = GGUFWriter(path, "qwen3")
    writer.add_name(f"synthetic {path.stem}")
    writer.add_block_count(shape.layers)
    writer.add_context_length(32768)
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    write_vocabulary(writer, shape.vocabulary)

    def matrix(name: str, rows: int, columns: int, scale: float) -> None:
        writer.add_tensor(name, q8_0(rng, rows, columns, scale), raw_dtype=GGMLQuantizationType.Q8_0)

    def ones(name: str, size: int) -> None:
        writer.add_tensor(name, np.ones(size, np.float32))

    matrix("token_embd.weight", shape.vocabulary, shape.width, 4 * shape.width**-0.5)
    ones("output_norm.weight", shape.width)
    query, key = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    for i in range(shape.layers):
        block = f"blk.{i}."
        for name in ("attn_norm", "ffn_norm"):
            ones(f"{block}{name}.weight", shape.width)
        for name in ("attn_q_norm", "attn_k_norm"):
            ones(f"{block}{name}.weight", shape.head_width)
        for name, rows, columns in (
            ("attn_q", query, shape.width), ("attn_k", key, shape.width), ("attn_v", key, shape.width),
            ("attn_output", shape.width, query), ("ffn_gate", shape.feed_forward, shape.width),
            ("ffn_up", shape.feed_forward, shape.width), ("ffn_down", shape.width, shape.feed_forward),
        ):
            matrix(f"{block}{name}.weight", rows, columns, 0.5 * columns**-0.5)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("path", type=Path)
    arguments = parser.parse_args()
    write_model(arguments.path, SHAPES[arguments.shape])


if __name__ == "__main__":
    main()
