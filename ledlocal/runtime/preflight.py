"""Whether llama.cpp will survive a model file: an allow-list, run on the header alone before the library sees it.

llama.cpp asserts where it could refuse, so a wrong value ends the process; what is checked here is what its loader
and graphs assert, at commit 0c1e57098 (vendored by llama-cpp-python 0.3.36): src/llama-model.cpp (load_hparams),
src/llama-model-loader.cpp, src/models/, ggml/src/ggml-cpu/ops.cpp and binary-ops.cpp. What it
refuses by itself, naming the key (wrong shapes, missing tensors), is left to it. The tokenizer's part is in
preflight_vocabulary. Damaged weights are out of reach.
"""

from __future__ import annotations

import math
import re

import numpy as np

from ledlocal.runtime.architectures import (
    ARCHITECTURES,
    EQUAL_HEADS,
    FULL_ROTATION,
    LATENT,
    NOT_FOR_CHAT,
    RECURRENT,
)
from ledlocal.runtime.ggml_types import MATRIX_TYPES
from ledlocal.runtime.header import Header, TensorInfo, read_header
from ledlocal.runtime.keys import Keys
from ledlocal.runtime.preflight_vocabulary import check_vocabulary
from ledlocal.runtime.scanner import shown
from ledlocal.values.errors import BadInput

_TABLES = {"ffn_gate_tid2eid": "I32", "d2t": "I64"}
"""Tensors that hold token or expert numbers (conversion/deepseek.py, conversion/llama.py)."""
LEAST_CONTEXT = 16
"""Tokens; with fewer, llama.cpp's batches are smaller than what a session decodes at a time."""
_CONVOLUTION = re.compile(r"(ssm_conv1d(_[qkv])?|shortconv\.conv)\.weight$")

ALIGNMENT = 32
"""TENSOR_ALIGNMENT of ggml-impl.h, asserted of mapped buffers."""
TEMPLATE_LIMIT = 64 << 10
"""Bytes of a chat template; the largest of llama.cpp's models/templates has 17 KiB."""


def check_model(header: Header) -> list[str]:
    """Warnings about a model (or the first part of a split one). Raises BadInput(file, key or tensor, cause)."""
    keys = Keys(header)
    _first_part(keys)
    _architecture(keys)
    _shape(keys)
    _heads(keys)
    _experts(keys)
    _state_space(keys)
    _floats(keys)
    _parts(keys)
    size = len(keys.text("tokenizer.chat_template", "").encode())
    if size > TEMPLATE_LIMIT:
        keys.refuse("tokenizer.chat_template", f"has {size} bytes; at most {TEMPLATE_LIMIT} are accepted")
    stray = [f"{header.path}: {what} is not UTF-8; its stray bytes show as \\x.." for what in header.not_utf8]
    return [*check_vocabulary(keys), *_nonsense(keys), *stray]


def _nonsense(keys: Keys) -> list[str]:
    """Warnings about values that mean nothing to llama.cpp and change nothing here."""
    known = {"general.file_type": 1 << 10, "general.quantization_version": 2, keys.own("pooling_type"): 4}
    return [f"{keys.header.path}: {shown(key)} is {shown(str(value))}, which means nothing; ignored"
            for key, most in known.items() if (value := keys.header.metadata.get(key)) is not None
            and not (isinstance(value, int) and 0 <= value <= most)]


def _architecture(keys: Keys) -> None:
    name = keys.text("general.architecture")
    for why, names in NOT_FOR_CHAT.items():
        if name in names:
            keys.refuse("general.architecture", f"is {shown(name)}, which {why}; it cannot chat")
    if name not in ARCHITECTURES:
        keys.refuse("general.architecture", f"is {shown(name)}, which this llama.cpp does not know; it knows "
                    "llama, qwen3, gemma3, gpt-oss and about 120 more")


def _shape(keys: Keys) -> None:
    """Layers and widths (load_hparams), and what the graphs divide by."""
    layers = keys.integer("block_count", 1, 512)
    keys.integer("context_length", LEAST_CONTEXT, 1 << 24)
    keys.integer("embedding_length", 1, 1 << 20)
    keys.integer("nextn_predict_layers", 0, layers - 1, 0)
    keys.integer("leading_dense_block_count", 0, layers, 0)
    keys.integer("attention.sliding_window", 0, 1 << 24, 0)
    for divisor in ("full_attention_interval", "experts_per_group"):
        keys.integer(divisor, 1, 1 << 16, 1)


def _heads(keys: Keys) -> None:
    """Heads divide, and the first layer's (n_head() of load_hparams) have the sizes that the graph asserts."""
    name, known = keys.header.architecture, keys.header.metadata
    layers, width = keys.integer("block_count", 1, 512), keys.integer("embedding_length", 1, 1 << 20)
    heads = keys.per_layer("attention.head_count", layers, 1 << 14, [0] * layers)
    groups = keys.per_layer("attention.head_count_kv", layers, 1 << 14, heads)
    if name in RECURRENT:
        return
    if not any(heads):
        keys.refuse(keys.own("attention.head_count"), "is missing or 0 in every layer")
    for n, kv in zip(heads, groups, strict=True):
        if kv and n % kv:
            keys.refuse(keys.own("attention.head_count"), f"is {n}, not a multiple of head_count_kv {kv}")
    if not heads[0]:
        return
    if width % heads[0] and keys.own("attention.key_length") not in known:
        keys.refuse(keys.own("embedding_length"), f"is {width}, not a multiple of attention.head_count {heads[0]}")
    key = keys.integer("attention.key_length", 1, 1 << 14, width // heads[0])
    value = keys.integer("attention.value_length", 1, 1 << 14, width // heads[0])
    rotated = keys.integer("rope.dimension_count", 1, 1 << 14, key)
    latent = [keys.integer(f"attention.{part}_length_mla", 1, 1 << 14, 0) for part in ("key", "value")]
    if any(latent) and not (all(latent) and latent[0] > rotated):
        keys.refuse(keys.own("attention.key_length_mla"), f"is {latent[0]} with value_length_mla {latent[1]} and "
                    f"{rotated} rotated dimensions")
    rank = keys.integer("attention.kv_lora_rank", 0, 1 << 16, 0)
    if name in LATENT and all(latent) and keys.own("rope.dimension_count") in known and key != rank + rotated:
        keys.refuse(keys.own("attention.key_length"), f"is {key}, not kv_lora_rank {rank} and {rotated} rotated "
                    "dimensions")
    if keys.own("attention.key_length_swa") in known:
        return
    if name in EQUAL_HEADS and key != value:
        keys.refuse(keys.own("attention.value_length"), f"is {value}; {name} needs it equal to key_length {key}")
    if rotated > key or (name in FULL_ROTATION and rotated != key):
        keys.refuse(keys.own("rope.dimension_count"), f"is {rotated}; {name} has heads of {key}")
    if rotated % 2 and keys.own("rope.dimension_count") in known:
        keys.refuse(keys.own("rope.dimension_count"), f"is {rotated}, an odd number")


def _experts(keys: Keys) -> None:
    """The assertions of load_hparams on mixtures of experts."""
    layers = keys.integer("block_count", 1, 512)
    experts = keys.integer("expert_count", 0, 1024, 0)
    used = max(keys.per_layer("expert_used_count", layers, 1 << 16, [0]))
    groups = keys.integer("expert_group_count", 0, 1 << 16, 0)
    used_groups = keys.integer("expert_group_used_count", 0, 1 << 16, 0)
    if keys.header.architecture in ("hunyuan_vl", "hunyuan-dense") and experts <= 1:
        experts = used = 0
    if used > experts or (experts and not used):
        keys.refuse(keys.own("expert_used_count"), f"is {used} of {experts} experts")
    if groups and (groups >= experts or (groups > 1 and experts % groups)):
        keys.refuse(keys.own("expert_group_count"), f"is {groups} for {experts} experts")
    if groups > 1 and not 0 < used_groups < groups:
        keys.refuse(keys.own("expert_group_used_count"), f"is {used_groups} of {groups} groups")


def _state_space(keys: Keys) -> None:
    """What src/models/mamba-base.cpp, jamba.cpp, granite-hybrid.cpp, plamo2.cpp and qwen35.cpp assert."""
    name = keys.header.architecture
    inner = keys.integer("ssm.inner_size", 1, 1 << 20, 0)
    width = keys.integer("embedding_length", 1, 1 << 20)
    if name in ("jamba", "granitehybrid") and inner != 2 * width:
        keys.refuse(keys.own("ssm.inner_size"), f"is {inner}; {name} needs twice the embedding_length {width}")
    if name in ("qwen35", "qwen35moe", "qwen3next"):
        state, heads = (keys.integer(f"ssm.{part}", 1, 1 << 16) for part in ("state_size", "time_step_rank"))
        if inner != state * heads:
            keys.refuse(keys.own("ssm.inner_size"), f"is {inner}, not state_size {state} times time_step_rank {heads}")
    if name == "plamo2":
        keys.integer("ssm.group_count", 0, 0, 0)
    if name in ("mamba2", "falcon-h1", "granitehybrid", "nemotron_h", "nemotron_h_moe"):
        for part in ("ssm.time_step_rank", "ssm.group_count"):
            if inner % keys.integer(part, 1, 1 << 16):
                keys.refuse(keys.own(part), f"does not divide ssm.inner_size {inner}")


def _floats(keys: Keys) -> None:
    """No NaN among the architecture's numbers; epsilons and the rotation's base and scale within reason."""
    scaling = keys.text(keys.own("rope.scaling.type"), "linear")
    if scaling not in ("none", "linear", "yarn", "longrope"):
        keys.refuse(keys.own("rope.scaling.type"), f"is {shown(scaling)}; llama.cpp knows none, linear, yarn, longrope")
    for key, value in keys.header.metadata.items():
        if not key.startswith(keys.own("")) or keys.header.kinds[key] not in ("f32", "f64", "[f32]", "[f64]"):
            continue
        if np.isnan(np.asarray(value)).any():
            keys.refuse(key, "is not a number (NaN)")
        if not isinstance(value, float):
            continue
        if key.endswith(("epsilon", "rope.freq_base", "rope.freq_base_swa")) and not 0 < value < math.inf:
            keys.refuse(key, f"is {value}; it must be a positive number")
        if key.endswith(("scaling.factor", "scale_linear")) and not 0 <= value < math.inf:
            keys.refuse(key, f"is {value}; it must be a finite number, not negative")


def _first_part(keys: Keys) -> None:
    """A split model is opened by its first part, whose name tells the others'."""
    header, count = keys.header, keys.get("split.count", "u16")
    if not isinstance(count, int) or count <= 1:
        return
    if len(header.splits) != count:
        keys.refuse("split.count", f"is {count}, so the file's name must end in -00001-of-{count:05d}.gguf")
    if keys.get("split.no", "u16") != 0 or header.splits[0] != header.path:
        keys.refuse("split.no", f"or the name says that this is not the first part; open {header.splits[0].name}")


def _parts(keys: Keys) -> None:
    """The tensors of every part, and that the parts of a split model belong together."""
    header = keys.header
    if len(header.splits) == 1 and not header.tensors:
        raise BadInput(f"{header.path}: no tensors; this file holds only a vocabulary")
    _check_tensors(header)
    names = dict.fromkeys(header.tensors, header.path)
    for i, path in enumerate(header.splits[1:], 1):
        if not path.exists():
            raise BadInput(f"{path}: part {i + 1} of {len(header.splits)} of the model is missing")
        part = read_header(path)
        if part.kinds.get("split.no") != "u16" or part.metadata["split.no"] != i:
            Keys(part).refuse("split.no", f"is {part.metadata.get('split.no', 'missing')}; this part needs {i} as u16")
        for name in part.tensors:
            if name in names:
                raise BadInput(f"{path}: tensor {shown(name)} is also in {names[name].name}")
            names[name] = path
        _check_tensors(part)
    if len(header.splits) > 1 and keys.get("split.tensors.count", "i32") != len(names):
        keys.refuse("split.tensors.count", f"is {header.metadata.get('split.tensors.count', 'missing')}, "
                    f"but the parts hold {len(names)} tensors")


def _check_tensors(part: Header) -> None:
    """Types the CPU kernels take, and data inside the file, where llama.cpp can map it."""
    if part.alignment < ALIGNMENT:
        Keys(part).refuse("general.alignment", f"is {part.alignment}; llama.cpp needs a multiple of {ALIGNMENT}")
    for info in part.tensors.values():
        what = f"{part.path}: tensor {shown(info.name)}"
        missing = info.offset + info.nbytes - part.size
        if missing > 0:
            raise BadInput(f"{what} ends {missing} bytes after the file's end at {part.size}; download incomplete?")
        allowed = _allowed_types(info)
        if info.type not in allowed:
            raise BadInput(f"{what} is stored as {info.type}, which llama.cpp cannot compute with; "
                           + (f"it must be {next(iter(allowed))}" if len(allowed) == 1 else "requantize the model"))


def _allowed_types(info: TensorInfo) -> frozenset[str]:
    """As conversion/base.py writes them: only matrices called .weight (or a LoRA pair) are ever not F32."""
    for name, kind in _TABLES.items():
        if name in info.name.split("."):
            return frozenset([kind])
    if (len(info.dims) <= 1 or info.name.endswith("_norm.weight") or _CONVOLUTION.search(info.name)
            or not info.name.endswith((".weight", ".lora_a", ".lora_b"))):
        return frozenset(["F32"])
    return MATRIX_TYPES
