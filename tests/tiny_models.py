"""Tiny random GGUF models that llama.cpp loads and decodes in milliseconds, whole products can chat on, and taps read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, dequantize, quantize
from numpy.typing import NDArray
from tiny_recipes import RECIPES, Recipe, Shapes, Sizes

F32, F16 = GGMLQuantizationType.F32, GGMLQuantizationType.F16
Q8_0, Q4_K, Q6_K = GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_K, GGMLQuantizationType.Q6_K

ENDOFTEXT, IM_START, IM_END, THINK, END_THINK = 256, 257, 258, 259, 260
"""Token ids in every vocabulary here: bytes are 0 ... 255, these follow, then merges, then `tok<id>`."""
_SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
_MERGES = ("t h", "th e", "Ġ the", "i n", "e r")

CHATML = (
    "{%- for message in messages -%}"
    "{%- set content = message['content'] -%}"
    "{%- if message['role'] == 'assistant' and '</think>' in content -%}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') -%}"
    "{%- endif -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' + content + '<|im_end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n<think>\n' -}}{%- endif -%}"
)
"""A ChatML template that opens the thinking phase itself and drops earlier thinking."""

def _byte_characters() -> list[str]:
    """GPT-2's printable character for each byte 0 ... 255 (llama.cpp: unicode_byte_to_utf8)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def write_vocabulary(writer: GGUFWriter, size: int, chat_template: str | None = CHATML) -> None:
    """A byte-level BPE vocabulary of `size` tokens (at least 300) with ChatML and thinking markers."""
    tokens = [*_byte_characters(), *_SPECIALS, *(merge.replace(" ", "") for merge in _MERGES)]
    if size < 300:
        raise ValueError("a tiny vocabulary needs at least 300 tokens")
    types = [TokenType.NORMAL] * size
    types[ENDOFTEXT:THINK] = [TokenType.CONTROL] * 3
    types[THINK:END_THINK + 1] = [TokenType.USER_DEFINED] * 2
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens + [f"tok{i}" for i in range(len(tokens), size)])
    writer.add_token_types(types)
    writer.add_token_merges(list(_MERGES))
    writer.add_bos_token_id(ENDOFTEXT)
    writer.add_pad_token_id(ENDOFTEXT)
    writer.add_eos_token_id(IM_END)
    writer.add_add_bos_token(False)
    if chat_template is not None:
        writer.add_chat_template(chat_template)


def _k_quant_blocks(rng: np.random.Generator, shape: tuple[int, ...], std: float,
                    kind: GGMLQuantizationType) -> NDArray[np.uint8]:
    """Random valid Q4_K or Q6_K blocks with mean about 0 and the given standard deviation (ggml-common.h)."""
    rows, blocks = shape[0], shape[1] // 256
    raw = rng.integers(0, 256, (rows, blocks, 144 if kind == Q4_K else 210), np.uint8)

    def set_scales(d: float) -> NDArray[np.uint8]:
        # Q4_K: d and dmin first, value = d * scale * q - dmin * min, q in 0 ... 15; Q6_K: d last, q in -32 ... 31
        pair = np.array([d, 7.5 * d], np.float16).view(np.uint8)
        if kind == Q4_K:
            raw[..., :4] = pair
        else:
            raw[..., -2:] = pair[:2]
        return raw.reshape(rows, -1)

    unit = float(dequantize(set_scales(2.0**-8)[:64], kind).std()) * 2.0**8
    return set_scales(std / unit)


def _random_tensor(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Scaled so that every block changes the residual stream about as much as the embedding filled it."""
    noise: NDArray[np.float32] = rng.standard_normal(shape).astype(np.float32)
    if name.endswith("bias"):
        noise *= 0.3
        return noise
    if "norm" in name or name.endswith(("altup_correct_scale.weight", "ssm_d")):
        return 1 + 0.2 * noise
    if name.endswith("ssm_a"):
        decay: NDArray[np.float32] = -np.exp(0.5 * noise)
        return decay
    noise /= np.float32(math.sqrt(shape[-1]))
    return noise


def _write_keys(writer: GGUFWriter, recipe: Recipe, s: Sizes, soft_cap: float | None,
                logit_scale: float | None) -> None:
    """Numbers are written with the architecture's prefix: int as uint32, float as float32, a list per layer."""
    attends = [s.n_head_kv if recipe.attention is None or i % 3 == 1 else 0 for i in range(s.n_layer)]
    keys: dict[str, int | float | list[int]] = {
        "block_count": s.n_layer, "context_length": 2048, "embedding_length": s.n_embd, "feed_forward_length": s.n_ff,
        "attention.head_count": s.n_head, "rope.dimension_count": s.n_embd // s.n_head,
        "attention.head_count_kv": s.n_head_kv if recipe.attention is None else attends,
        f"attention.layer_norm_{'' if recipe.layer_norm else 'rms_'}epsilon": 1e-5}
    if recipe.window:
        keys["attention.sliding_window"] = s.window
    if recipe.recurrent:
        keys |= {"ssm.conv_kernel": 4, "ssm.inner_size": 2 * s.n_embd, "ssm.state_size": s.state,
                 "ssm.time_step_rank": 4}
    if recipe.experts:
        keys |= {"expert_count": s.n_expert, "expert_used_count": 2, "expert_feed_forward_length": s.n_ff}
    if (cap := soft_cap or recipe.soft_cap) is not None:
        keys["final_logit_softcapping"] = cap
    if (scale := logit_scale or recipe.logit_scale) is not None:
        keys["logit_scale"] = scale
    for key, value in (keys | recipe.keys(s)).items():
        write = {int: writer.add_uint32, float: writer.add_float32, list: writer.add_array}[type(value)]
        write(f"{writer.arch}.{key}", value)


def _shapes(recipe: Recipe, s: Sizes) -> Shapes:
    shapes: Shapes = {f"{recipe.norm}.weight": (s.n_embd,)}
    if recipe.norm_bias:
        shapes[f"{recipe.norm}.bias"] = (s.n_embd,)
    shapes |= recipe.outside(s)
    for i in range(s.n_layer):
        block = recipe.attention if recipe.attention is not None and i % 3 == 1 else recipe.block
        shapes |= {f"blk.{i}.{name}": shape for name, shape in block(s).items()}
    return shapes


def _write_matrix(writer: GGUFWriter, rng: np.random.Generator, name: str, shape: tuple[int, int],
                  kind: GGMLQuantizationType, gain: float) -> None:
    std = gain / math.sqrt(shape[1])
    if kind in (Q4_K, Q6_K):
        writer.add_tensor(name, _k_quant_blocks(rng, shape, std, kind), raw_dtype=kind)
        return
    values = rng.standard_normal(shape, np.float32) * np.float32(std)
    writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)


def tiny_model(path: Path, architecture: str, *, tied: bool = False, head_type: GGMLQuantizationType = F16,
               soft_cap: float | None = None, logit_scale: float | None = None, bias: bool = False, seed: int = 0,
               gain: float = 3.0, chat_template: str | None = CHATML, **sizes: int) -> Path:
    """Write a random model of one of RECIPES to `path`.

    `tied`: the embedding is the output matrix (always so in gemma2 and command-r). `head_type`: of the output matrix;
    Q8_0 needs n_embd a multiple of 32, Q4_K and Q6_K of 256. `soft_cap` and `logit_scale` override the recipe's.
    `bias`: an output bias (qwen2; phi2 has one anyway). `gain`: about the standard deviation of the final logits.
    `sizes`: fields of Sizes.
    """
    recipe = RECIPES[architecture]
    s = Sizes(**{"vocab": max(Sizes().vocab, recipe.min_vocab)} | sizes)
    rng = np.random.default_rng(seed)
    writer = GGUFWriter(path, architecture)
    writer.add_name("tiny random model")  # llama.cpp treats a vocabulary specially if the name says "phi3"
    _write_keys(writer, recipe, s, soft_cap, logit_scale)
    write_vocabulary(writer, s.vocab, chat_template)
    tied = tied or recipe.always_tied
    _write_matrix(writer, rng, "token_embd.weight", (s.vocab, s.n_embd), head_type if tied else F16, gain)
    if not tied:
        _write_matrix(writer, rng, "output.weight", (s.vocab, s.n_embd), head_type, gain)
    if bias or recipe.output_bias:
        writer.add_tensor("output.bias", rng.standard_normal(s.vocab, np.float32))
    for name, shape in _shapes(recipe, s).items():
        writer.add_tensor(name, _random_tensor(rng, name, shape))
    _finish(writer)
    return path


def _finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@dataclass(frozen=True, slots=True)
class KnownResidual:
    """A llama-architecture model whose block l adds `steps[l - 1]` to the residual stream, whatever the context.

    `embedding` (V, E), `steps` (L, E) and `head` (V, E) hold multiples of 1/4 small enough that every sum and product
    in F32 and F16 is exact, so the residual stream after layer l of a token is known by hand.
    """

    path: Path
    embedding: NDArray[np.float32]
    steps: NDArray[np.float32]
    head: NDArray[np.float32]

    def residual(self, token: int, layer: int) -> NDArray[np.float32]:
        """(E,) after block `layer` (1-based; 0 is the embedding)."""
        total: NDArray[np.float32] = self.embedding[token] + self.steps[:layer].sum(0)
        return total


def known_residual_model(path: Path, *, n_layer: int = 12, n_embd: int = 32, vocab: int = 320,
                         seed: int = 0) -> KnownResidual:
    """Write the model of KnownResidual: all block matrices are zero, and attention and MLP end in a bias each."""
    s = Sizes(n_layer=n_layer, n_embd=n_embd, vocab=vocab)
    rng = np.random.default_rng(seed)

    def quarters(high: int, *shape: int) -> NDArray[np.float32]:
        return (rng.integers(-high, high + 1, shape) / 4).astype(np.float32)

    writer = GGUFWriter(path, "llama")
    _write_keys(writer, RECIPES["llama"], s, None, None)
    write_vocabulary(writer, vocab)
    embedding, head = quarters(4, vocab, n_embd), quarters(2, vocab, n_embd)
    attention, mlp = quarters(2, n_layer, n_embd), quarters(2, n_layer, n_embd)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", head)
    writer.add_tensor("output_norm.weight", np.ones(n_embd, np.float32))
    for i in range(n_layer):
        for name, shape in RECIPES["llama"].block(s).items():
            writer.add_tensor(f"blk.{i}.{name}", np.zeros(shape, np.float32))
        writer.add_tensor(f"blk.{i}.attn_output.bias", attention[i])
        writer.add_tensor(f"blk.{i}.ffn_down.bias", mlp[i])
    _finish(writer)
    return KnownResidual(path, embedding, attention + mlp, head)


class TinyModels:
    """Writes each tiny model once into a folder: `models("qwen3", tied=True)` is its path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}

    def __call__(self, architecture: str, **options: Any) -> Path:
        key = f"{architecture} {sorted(options.items())}"
        if key not in self._paths:
            path = self._folder / f"{architecture}-{len(self._paths)}.gguf"
            self._paths[key] = tiny_model(path, architecture, **options)
        return self._paths[key]
