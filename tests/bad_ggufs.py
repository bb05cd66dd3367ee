"""Hand-made GGUF files, good and bad, byte by byte: independent of gguf-py and of ledlocal's own scanner.

`good()` is a llama-architecture model of one layer that llama.cpp loads and decodes; every case spoils one thing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CODES = {"u8": 0, "i8": 1, "u16": 2, "i16": 3, "u32": 4, "i32": 5, "f32": 6, "bool": 7, "str": 8, "u64": 10, "i64": 11,
         "f64": 12}
FORMS = {"u8": "<B", "i8": "<b", "u16": "<H", "i16": "<h", "u32": "<I", "i32": "<i", "f32": "<f", "bool": "<?",
         "u64": "<Q", "i64": "<q", "f64": "<d"}
WIDTH, HEADS, HIDDEN = 32, 2, 64
DATA_ALIGNMENT = 32


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def packed(kind: str, value: Any) -> bytes:
    return text(value) if kind == "str" else struct.pack(FORMS[kind], value)


def entry(key: str | bytes, kind: str, value: Any) -> bytes:
    """One metadata entry; `[f32]` is an array of f32."""
    if kind.startswith("["):
        kind = kind[1:-1]
        body = struct.pack("<IIQ", 9, CODES[kind], len(value)) + b"".join(packed(kind, item) for item in value)
        return text(key) + body
    return text(key) + struct.pack("<I", CODES[kind]) + packed(kind, value)


@dataclass
class Tensor:
    """An entry and its data; what is None follows from the data."""

    data: NDArray[Any]
    type: int = 0
    dims: tuple[int, ...] | None = None
    offset: int | None = None


@dataclass
class Gguf:
    """A file in parts, to be spoiled."""

    metadata: dict[str | bytes, tuple[str, Any]]
    tensors: dict[str, Tensor]
    magic: bytes = b"GGUF"
    version: int = 3
    n_tensors: int | None = None
    n_keys: int | None = None
    extra: bytes = b""
    """Entries after the last one (count them in n_keys)."""

    def build(self) -> bytes:
        out = self.magic + struct.pack(
            "<Iqq", self.version, len(self.tensors) if self.n_tensors is None else self.n_tensors,
            len(self.metadata) if self.n_keys is None else self.n_keys)
        out += b"".join(entry(key, *value) for key, value in self.metadata.items()) + self.extra
        offset, data = 0, []
        for name, tensor in self.tensors.items():
            dims = tensor.data.shape[::-1] if tensor.dims is None else tensor.dims
            out += text(name) + struct.pack(f"<I{len(dims)}q", len(dims), *dims)
            out += struct.pack("<iQ", tensor.type, offset if tensor.offset is None else tensor.offset)
            blob = tensor.data.tobytes()
            data.append(blob + b"\0" * (-len(blob) % DATA_ALIGNMENT))
            offset += len(data[-1])
        return b"".join([out, b"\0" * (-len(out) % DATA_ALIGNMENT), *data])


def vocabulary() -> tuple[list[str], list[int]]:
    """SentencePiece-like: three specials, 256 byte tokens, letters."""
    words = ["▁", *map(chr, range(33, 127)), "▁the", "th", "<|im_start|>", "<|im_end|>"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    return tokens, [2, 3, 3, *[6] * 256, *[1] * (len(words) - 2), 3, 3]


def good() -> Gguf:
    """The model that every case spoils."""
    tokens, types = vocabulary()
    rng = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> Tensor:
        return Tensor((rng.standard_normal((rows, columns)) * 0.1).astype(np.float32))

    def ones() -> Tensor:
        return Tensor(np.ones(WIDTH, np.float32))

    metadata: dict[str | bytes, tuple[str, Any]] = {
        "general.architecture": ("str", "llama"),
        "general.name": ("str", "tiny"),
        "llama.context_length": ("u32", 256),
        "llama.embedding_length": ("u32", WIDTH),
        "llama.block_count": ("u32", 1),
        "llama.feed_forward_length": ("u32", HIDDEN),
        "llama.attention.head_count": ("u32", HEADS),
        "llama.attention.head_count_kv": ("u32", HEADS),
        "llama.rope.dimension_count": ("u32", WIDTH // HEADS),
        "llama.attention.layer_norm_rms_epsilon": ("f32", 1e-5),
        "llama.vocab_size": ("u32", len(tokens)),
        "tokenizer.ggml.model": ("str", "llama"),
        "tokenizer.ggml.tokens": ("[str]", tokens),
        "tokenizer.ggml.scores": ("[f32]", [-float(i) for i in range(len(tokens))]),
        "tokenizer.ggml.token_type": ("[i32]", types),
        "tokenizer.ggml.bos_token_id": ("u32", 1),
        "tokenizer.ggml.eos_token_id": ("u32", 2),
        "tokenizer.chat_template": ("str", "{% for m in messages %}{{ m['content'] }}{% endfor %}"),
    }
    tensors = {
        "token_embd.weight": matrix(len(tokens), WIDTH), "output_norm.weight": ones(),
        "output.weight": matrix(len(tokens), WIDTH), "blk.0.attn_norm.weight": ones(), "blk.0.ffn_norm.weight": ones(),
        **{f"blk.0.attn_{part}.weight": matrix(WIDTH, WIDTH) for part in ("q", "k", "v", "output")},
        "blk.0.ffn_gate.weight": matrix(HIDDEN, WIDTH), "blk.0.ffn_up.weight": matrix(HIDDEN, WIDTH),
        "blk.0.ffn_down.weight": matrix(WIDTH, HIDDEN),
    }
    return Gguf(metadata, tensors)


@dataclass(frozen=True)
class Case:
    """One spoiled file."""

    name: str
    spoil: Callable[[Gguf], bytes | None]
    """Changes the parts, or returns the bytes."""
    words: tuple[str, ...]
    """What the refusal must say, besides the file's name."""

    def build(self) -> bytes:
        gguf = good()
        made = self.spoil(gguf)
        return gguf.build() if made is None else made


def put(kind: str, value: Any, *keys: str) -> Callable[[Gguf], None]:
    def spoil(gguf: Gguf) -> None:
        gguf.metadata.update(dict.fromkeys(keys, (kind, value)))
    return spoil


def drop(*keys: str) -> Callable[[Gguf], None]:
    def spoil(gguf: Gguf) -> None:
        for key in keys:
            del gguf.metadata[key]
    return spoil


def several(*spoils: Callable[[Gguf], None]) -> Callable[[Gguf], None]:
    def spoil(gguf: Gguf) -> None:
        for each in spoils:
            each(gguf)
    return spoil


def parts(**values: Any) -> Callable[[Gguf], None]:
    def spoil(gguf: Gguf) -> None:
        for name, value in values.items():
            setattr(gguf, name, value)
    return spoil


def tensor(name: str, **values: Any) -> Callable[[Gguf], None]:
    def spoil(gguf: Gguf) -> None:
        for key, value in values.items():
            setattr(gguf.tensors[name], key, value)
    return spoil


def cut(length: int) -> Callable[[Gguf], bytes]:
    return lambda gguf: gguf.build()[:length]


def retype(name: str, code: int, dtype: str) -> Callable[[Gguf], None]:
    """Store a tensor as another type of one element per block, its values converted."""
    def spoil(gguf: Gguf) -> None:
        old = gguf.tensors[name].data
        gguf.tensors[name] = Tensor(old.astype(dtype), code)
    return spoil


def blocks(name: str, code: int, block: int, size: int) -> Callable[[Gguf], None]:
    """Store a matrix as zeroed blocks; rows are widened to a whole block so that only the type is wrong."""
    def spoil(gguf: Gguf) -> None:
        rows, columns = gguf.tensors[name].data.shape
        columns = -(-columns // block) * block
        gguf.tensors[name] = Tensor(np.zeros((rows, columns // block * size), np.uint8), code, (columns, rows))
    return spoil


def rename(old: str, new: str) -> Callable[[Gguf], None]:
    def spoil(gguf: Gguf) -> None:
        gguf.tensors = {new if name == old else name: each for name, each in gguf.tensors.items()}
    return spoil


def token(i: int, value: str | bytes) -> Callable[[Gguf], None]:
    return lambda gguf: gguf.metadata["tokenizer.ggml.tokens"][1].__setitem__(i, value)


def no_tensors(gguf: Gguf) -> None:
    gguf.tensors = {}


def swapped(gguf: Gguf) -> bytes:
    made = gguf.build()
    return made[:4] + made[7:3:-1] + made[8:]


def string_length(length: int) -> Callable[[Gguf], bytes]:
    """The first key claims another length."""
    return lambda gguf: (made := gguf.build())[:24] + struct.pack("<Q", length) + made[32:]


def huge_array(kind: int, count: int) -> Callable[[Gguf], None]:
    def spoil(gguf: Gguf) -> None:
        gguf.n_keys = len(gguf.metadata) + 1
        gguf.extra = text("x.array") + struct.pack("<IIQ", 9, kind, count)
    return spoil


ARRAY_OF_ARRAYS = text("x.array") + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 4, 0)
MAGIC = "tokenizer.ggml.model"
TOKENS = "tokenizer.ggml.tokens"
ROPE = "llama.rope.dimension_count"
NORM = "blk.0.attn_norm.weight"
MATRIX = "blk.0.attn_q.weight"
N = len(vocabulary()[0])

STRUCTURE = [
    Case("empty", cut(0), ("empty",)),
    Case("four bytes", cut(4), ("4 bytes",)),
    Case("wrong magic", parts(magic=b"XXXX"), ("not a GGUF", "XXXX")),
    Case("GGML", parts(magic=b"lmgg"), ("not a GGUF", "GGML")),
    Case("GGJT", parts(magic=b"tjgg"), ("not a GGUF", "GGJT")),
    Case("LFS pointer", lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", ("LFS pointer",)),
    Case("version 0", parts(version=0), ("version 0",)),
    Case("version 1", parts(version=1), ("version 1",)),
    Case("version 99", parts(version=99), ("version 99",)),
    Case("byte-swapped", swapped, ("big-endian",)),
    Case("cut in the counts", cut(20), ("20 bytes",)),
    Case("cut in a key", cut(40), ("tensors", "incomplete")),
    Case("cut in the vocabulary", cut(2000), (TOKENS, "incomplete")),
    Case("cut in the tensor list", lambda g: g.build()[:g.build().index(b"output.weight") + 4],
         ("tensor", "incomplete")),
    Case("cut in the data", lambda g: g.build()[:-5000], ("tensor", "incomplete")),
    Case("cut by one byte", lambda g: g.build()[:-1], ("blk.0.ffn_down.weight", "1 bytes", "incomplete")),
    Case("-1 keys", parts(n_keys=-1), ("metadata keys", "-1")),
    Case("2^60 keys", parts(n_keys=2**60), ("metadata keys", str(2**60))),
    Case("2^58 tensors", parts(n_tensors=2**58), ("tensors", str(2**58))),
    Case("one key too many", lambda g: parts(n_keys=len(g.metadata) + 1)(g), ("tensor 0", "left")),
    Case("string of 2^63 bytes", string_length(2**63), ("length", str(2**63))),
    Case("string past the end", string_length(2**30), ("length", str(2**30))),
    Case("array of 2^40 numbers", huge_array(4, 2**40), ("x.array", str(2**40))),
    Case("array of 2^40 strings", huge_array(8, 2**40), ("x.array", str(2**40))),
    Case("array of 2^63 bytes", huge_array(0, 2**63), ("x.array", str(2**63))),
    Case("nested array", lambda g: parts(n_keys=len(g.metadata) + 1, extra=ARRAY_OF_ARRAYS)(g), ("x.array", "nested")),
    Case("unknown value type", lambda g: parts(n_keys=len(g.metadata) + 1, extra=text("x") + struct.pack("<I", 77))(g),
         ("'x'", "77")),
    Case("duplicate key", lambda g: parts(n_keys=len(g.metadata) + 1, extra=entry("general.name", "str", "two"))(g),
         ("general.name", "twice")),
    Case("empty key", put("u32", 1, ""), ("key", "empty")),
    Case("alignment 0", put("u32", 0, "general.alignment"), ("general.alignment", "0")),
    Case("alignment 3", put("u32", 3, "general.alignment"), ("general.alignment", "3")),
    Case("alignment as text", put("str", "32", "general.alignment"), ("general.alignment",)),
    Case("five dimensions", tensor(MATRIX, dims=(2, 2, 2, 2, 2)), (MATRIX, "5 dimensions")),
    Case("2^32 - 1 dimensions", lambda g: g.build().replace(
        text(MATRIX) + struct.pack("<I", 2), text(MATRIX) + struct.pack("<I", 2**32 - 1)), (MATRIX, "dimensions")),
    Case("negative dimension", tensor(MATRIX, dims=(WIDTH, -WIDTH)), (MATRIX, "shape")),
    Case("zero dimension", tensor(MATRIX, dims=(WIDTH, 0)), (MATRIX, "shape")),
    Case("shape over 2^63", tensor(MATRIX, dims=(2**40, 2**40)), (MATRIX, "shape")),
    Case("tensor name of 64 bytes", rename(MATRIX, "x" * 64), ("x" * 64, "name")),
    Case("duplicate tensor", lambda g: g.build().replace(text("blk.0.attn_k.weight"), text(MATRIX)), (MATRIX, "twice")),
    Case("unknown tensor type", tensor(MATRIX, type=99), (MATRIX, "99")),
    Case("negative tensor type", tensor(MATRIX, type=-1), (MATRIX, "-1")),
    Case("removed tensor type", tensor(MATRIX, type=31), (MATRIX, "31")),
    Case("row not of whole blocks", tensor(MATRIX, type=12), (MATRIX, "blocks of 256")),
    Case("offset 2^62", tensor(MATRIX, offset=2**62), (MATRIX, "gap")),
    Case("overlap", tensor(MATRIX, offset=0), (MATRIX, "overlaps")),
]
"""What the header scanner refuses."""

MODEL = [
    Case("no tensors", no_tensors, ("no tensors",)),
    Case("tensor past the end", tensor("blk.0.ffn_down.weight", dims=(HIDDEN, 2**40)), ("ffn_down", "incomplete")),
    Case("alignment 1", put("u32", 1, "general.alignment"), ("general.alignment", "32")),
    Case("no architecture", drop("general.architecture"), ("general.architecture", "missing")),
    Case("architecture as a number", put("u32", 1, "general.architecture"), ("general.architecture", "u32")),
    Case("unknown architecture", put("str", "lla\x1b[2Jma", "general.architecture"), (r"lla\x1b[2Jma", "qwen3")),
    Case("an embedding model", put("str", "bert", "general.architecture"), ("bert", "embeddings")),
    Case("a projector", put("str", "clip", "general.architecture"), ("clip", "part of another")),
    *(Case(f"block_count {n}", put("u32", n, "llama.block_count"), ("llama.block_count", str(n), "512"))
      for n in (0, 513, 2**31)),
    Case("no block_count", drop("llama.block_count"), ("llama.block_count", "missing")),
    Case("block_count as text", put("str", "1", "llama.block_count"), ("llama.block_count", "str", "u32")),
    Case("block_count as i32", put("i32", 1, "llama.block_count"), ("llama.block_count", "i32", "u32")),
    *(Case(f"context_length {n}", put("u32", n, "llama.context_length"), ("llama.context_length", str(n)))
      for n in (0, 2**30, 2**31, 2**32 - 1)),
    Case("no context_length", drop("llama.context_length"), ("llama.context_length", "missing")),
    Case("embedding_length 0", put("u32", 0, "llama.embedding_length"), ("llama.embedding_length",)),
    Case("embedding_length 33", put("u32", 33, "llama.embedding_length"), ("llama.embedding_length", "33", "multiple")),
    Case("head_count 0", put("u32", 0, "llama.attention.head_count"), ("llama.attention.head_count",)),
    Case("no head_count", drop("llama.attention.head_count"), ("llama.attention.head_count", "missing")),
    Case("head_count 2^31", put("u32", 2**31, "llama.attention.head_count"), ("attention.head_count", str(2**31))),
    Case("head_count of 7 layers", put("[u32]", [2] * 7, "llama.attention.head_count"), ("head_count", "7 values")),
    Case("3 key heads for 2", put("u32", 3, "llama.attention.head_count_kv"), ("llama.attention.head_count", "3")),
    Case("key_length 0", put("u32", 0, "llama.attention.key_length"), ("llama.attention.key_length", "0")),
    Case("value_length 8", put("u32", 8, "llama.attention.value_length"), ("llama.attention.value_length", "8", "16")),
    Case("rope dimensions 8", put("u32", 8, ROPE), (ROPE, "8")),
    Case("rope dimensions 0", put("u32", 0, ROPE), (ROPE, "0")),
    Case("rope dimensions 34", put("u32", 34, ROPE), (ROPE, "34")),
    Case("more draft layers than layers", put("u32", 9, "llama.nextn_predict_layers"), ("nextn_predict_layers", "9")),
    Case("sliding window 2^31", put("u32", 2**31, "llama.attention.sliding_window"), ("sliding_window", str(2**31))),
    Case("full_attention_interval 0", put("u32", 0, "llama.full_attention_interval"), ("full_attention_interval", "0")),
    Case("9999 experts", put("u32", 9999, "llama.expert_count"), ("llama.expert_count", "9999")),
    Case("experts used without experts", put("u32", 2, "llama.expert_used_count"), ("expert_used_count", "2 of 0")),
    Case("experts never used", put("u32", 4, "llama.expert_count"), ("llama.expert_used_count", "0 of 4")),
    Case("expert groups without experts", put("u32", 2, "llama.expert_group_count"), ("expert_group_count", "2")),
    Case("3 groups of 8 experts", several(put("u32", 8, "llama.expert_count"), put("u32", 2, "llama.expert_used_count"),
                                          put("u32", 3, "llama.expert_group_count")), ("expert_group_count", "3", "8")),
    Case("no group used", several(put("u32", 8, "llama.expert_count"), put("u32", 2, "llama.expert_used_count"),
                                  put("u32", 4, "llama.expert_group_count")), ("expert_group_used_count", "0 of 4")),
    *(Case(f"rope scaling {kind!r}", put("str", kind, "llama.rope.scaling.type"), ("rope.scaling.type", repr(kind)))
      for kind in ("garbage", "")),
    *(Case(f"epsilon {value}", put("f32", value, "llama.attention.layer_norm_rms_epsilon"), ("rms_epsilon", words))
      for value, words in ((math.nan, "NaN"), (-1.0, "-1"), (-math.inf, "-inf"), (math.inf, "inf"), (0.0, "0"))),
    Case("rope base NaN", put("f32", math.nan, "llama.rope.freq_base"), ("llama.rope.freq_base", "NaN")),
    Case("rope base 0", put("f32", 0.0, "llama.rope.freq_base"), ("llama.rope.freq_base", "0")),
    Case("rope scale NaN", put("f32", math.nan, "llama.rope.scaling.factor"), ("llama.rope.scaling.factor", "NaN")),
    Case("any number NaN", put("f32", math.nan, "llama.some_scale"), ("llama.some_scale", "NaN")),
    *(Case(f"norm as {kind}", retype(NORM, code, dtype), (NORM, kind, "F32"))
      for kind, code, dtype in (("F16", 1, "f2"), ("BF16", 30, "u2"), ("F64", 28, "f8"), ("I32", 26, "i4"))),
    Case("norm as Q8_0", lambda g: g.tensors.__setitem__(NORM, Tensor(np.zeros(34, np.uint8), 8, (32,))),
         (NORM, "Q8_0", "F32")),
    *(Case(f"matrix as {kind}", retype(MATRIX, code, dtype), (MATRIX, kind))
      for kind, code, dtype in (("I8", 24, "i1"), ("I16", 25, "i2"), ("I32", 26, "i4"), ("I64", 27, "i8"),
                                ("F64", 28, "f8"))),
    Case("matrix as Q8_1", blocks(MATRIX, 9, 32, 36), (MATRIX, "Q8_1")),
    Case("matrix as Q8_K", blocks("blk.0.ffn_down.weight", 15, 256, 292), ("blk.0.ffn_down.weight", "Q8_K")),
    Case("embeddings as I32", retype("token_embd.weight", 26, "i4"), ("token_embd.weight", "I32")),
    Case("embeddings as Q8_1", blocks("token_embd.weight", 9, 32, 36), ("token_embd.weight", "Q8_1")),
    Case("bias as F16", lambda g: g.tensors.__setitem__("blk.0.attn_q.bias", Tensor(np.zeros((1, WIDTH), "f2"), 1)),
         ("blk.0.attn_q.bias", "F16")),
]
"""What preflight refuses in shape, numbers and tensors."""

VOCABULARY = [
    Case("no tokenizer", drop(MAGIC), (MAGIC, "missing")),
    *(Case(f"tokenizer {kind}", put("str", kind, MAGIC), (MAGIC, repr(kind)))
      for kind in ("no_vocab", "none", "bert", "t5", "test", "garbage\n")),
    Case("tokenizer rwkv", put("str", "rwkv", MAGIC), (MAGIC, "rwkv", "llama")),
    Case("tokenizer gpt2 without merges", put("str", "gpt2", MAGIC), ("tokenizer.ggml.merges", "missing")),
    Case("merges as numbers", several(put("str", "gpt2", MAGIC), put("[u32]", [1], "tokenizer.ggml.merges")),
         ("tokenizer.ggml.merges", "[u32]")),
    Case("no tokens", drop(TOKENS), (TOKENS, "missing")),
    Case("empty vocabulary", put("[str]", [], TOKENS), (TOKENS, "empty")),
    Case("tokens as numbers", put("[u32]", [1, 2], TOKENS), (TOKENS, "[u32]")),
    Case("few scores", put("[f32]", [0.0] * 5, "tokenizer.ggml.scores"), ("tokenizer.ggml.scores", "5", str(N))),
    Case("scores as text", put("[str]", ["a"] * N, "tokenizer.ggml.scores"), ("tokenizer.ggml.scores", "[str]")),
    Case("few types", put("[i32]", [1] * 5, "tokenizer.ggml.token_type"), ("tokenizer.ggml.token_type", "5", str(N))),
    Case("types as u32", put("[u32]", [1] * N, "tokenizer.ggml.token_type"), ("tokenizer.ggml.token_type", "[u32]")),
    Case("two tokens alike", token(270, "A"), (TOKENS, "'A'", "270", "292")),
    Case("an empty token and its substitute", several(token(270, ""), token(280, "[EMPTY_270]")),
         (TOKENS, "270", "280")),
    Case("no byte token", token(3 + 0xC3, "something"), (TOKENS, "<0xC3>")),
    Case("add_bos without bos", several(put("str", "gemma4", MAGIC), put("[str]", [], "tokenizer.ggml.merges"),
                                        drop("tokenizer.ggml.bos_token_id")), ("add_bos_token", "bos_token_id")),
    Case("add_eos without eos", several(put("str", "gemma4", MAGIC), put("[str]", [], "tokenizer.ggml.merges"),
                                        put("bool", True, "tokenizer.ggml.add_eos_token"),
                                        drop("tokenizer.ggml.eos_token_id")), ("add_eos_token", "eos_token_id")),
    Case("eos as text", put("str", "2", "tokenizer.ggml.eos_token_id"), ("eos_token_id", "str")),
    Case("template of 1 MB", put("str", "x" * 2**20, "tokenizer.chat_template"), ("tokenizer.chat_template", "65536")),
    Case("template as a list", put("[str]", ["x"], "tokenizer.chat_template"), ("tokenizer.chat_template", "[str]")),
]
"""What preflight refuses in the tokenizer."""

CASES = [*STRUCTURE, *MODEL, *VOCABULARY]
