"""Checkpoint to GGUF, as llama.cpp's own conversion writes a Qwen3 (convert_hf_to_gguf.py)."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from torch import Tensor

from demo.document import END_TURN
from demo.model import Model
from demo.tokenizer import CONTROL, END_OF_TEXT, USER_DEFINED, Tokenizer

TEMPLATE = ("{%- for message in messages -%}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] "
            "+ '<|im_end|>' + '\\n' }}{%- endfor -%}{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}"
            "{%- endif -%}")
DESCRIPTION = "A tiny reasoning model for number puzzles, trained from scratch by ledlocal's recipe (demo/)"


def export(model: Model, tokenizer: Tokenizer, path: Path, name: str) -> None:
    """Write `path`: matrices in half precision, norms in single."""
    writer = gguf.GGUFWriter(path, "qwen3")
    shape = model.shape
    writer.add_name(name)
    writer.add_description(DESCRIPTION)
    writer.add_license("MIT")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_rope_freq_base(shape.theta)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary)
    _add_tokenizer(writer, tokenizer)
    for tensor, weight in tensors(model).items():
        values = weight.detach().float().cpu().contiguous().numpy()
        writer.add_tensor(tensor, values if values.ndim == 1 else values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensors(model: Model) -> dict[str, Tensor]:
    """Names of llama.cpp -> weights."""
    named = {"token_embd.weight": model.embedding, "output_norm.weight": model.final_norm, "output.weight": model.head}
    layers = {"attn_norm": model.attention_norm, "ffn_norm": model.feed_forward_norm, "attn_q_norm": model.query_norm,
              "attn_k_norm": model.key_norm, "attn_q": model.query, "attn_k": model.key, "attn_v": model.value,
              "attn_output": model.output, "ffn_gate": model.gate, "ffn_up": model.up, "ffn_down": model.down}
    return named | {f"blk.{i}.{name}.weight": stacked[i]
                    for i in range(model.shape.layers) for name, stacked in layers.items()}


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    kinds = gguf.TokenType
    normal = len(tokenizer) - len(CONTROL) - len(USER_DEFINED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(list(tokenizer.tokens))
    writer.add_token_types([kinds.NORMAL] * normal + [kinds.CONTROL] * len(CONTROL)
                           + [kinds.USER_DEFINED] * len(USER_DEFINED))
    writer.add_token_merges([f"{a} {b}" for a, b in tokenizer.merges])
    writer.add_eos_token_id(tokenizer.id(END_TURN))
    writer.add_pad_token_id(tokenizer.id(END_OF_TEXT))
    writer.add_bos_token_id(tokenizer.id(END_OF_TEXT))
    writer.add_add_bos_token(False)  # llama-bpe adds one otherwise
    writer.add_chat_template(TEMPLATE)
