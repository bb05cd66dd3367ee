"""Whether llama.cpp will survive a model file's tokenizer (src/llama-vocab.cpp of llama.cpp 0c1e57098)."""

from __future__ import annotations

import re

import numpy as np

from ledlocal.runtime.keys import Keys
from ledlocal.runtime.scanner import StringArray, shown

_MERGED = ("gpt2", "hybriddna", "whitespace", "gemma4")
_DEFAULT_BOS = {"llama": 1, "plamo2": 1, "gpt2": 11, "hybriddna": 11, "whitespace": 11}
_DEFAULT_EOS = _DEFAULT_BOS | {"llama": 2, "plamo2": 2}
"""Ids that src/llama-vocab.cpp assumes where the file names none."""
_TOKENIZERS = (*_DEFAULT_BOS, "gemma4", "rwkv")
_SPECIALS = ("bos", "eos", "eot", "eom", "unknown", "seperator", "padding", "mask")
TOKENS_LIMIT = 1 << 20
"""Tokens of a vocabulary; the largest known has 262,144."""


def check_vocabulary(keys: Keys) -> list[str]:
    """Warnings; raises BadInput unless the tokenizer's arrays agree and no two tokens share a text."""
    model = keys.text("tokenizer.ggml.model")
    if model not in _TOKENIZERS:
        keys.refuse("tokenizer.ggml.model", f"is {shown(model)}; a chat model has one of {', '.join(_TOKENIZERS)}")
    tokens = keys.get("tokenizer.ggml.tokens", "[str]")
    if not isinstance(tokens, StringArray) or not 0 < len(tokens) <= TOKENS_LIMIT:
        keys.refuse("tokenizer.ggml.tokens", "is missing, empty or longer than a million tokens")
    for name, kinds in (("scores", ("[f32]", "[i32]")), ("token_type", ("[i32]",))):
        numbers = keys.get(f"tokenizer.ggml.{name}", *kinds)
        if isinstance(numbers, np.ndarray) and len(numbers) < len(tokens):
            keys.refuse(f"tokenizer.ggml.{name}", f"has {len(numbers)} values for {len(tokens)} tokens")
        if isinstance(numbers, np.ndarray) and np.isnan(numbers).any():
            keys.refuse(f"tokenizer.ggml.{name}", "holds what is not a number (NaN)")
    merges = keys.get("tokenizer.ggml.merges", "[str]")
    if model in _MERGED and merges is None and keys.text("tokenizer.ggml.pre", "") != "kimi-k2":
        keys.refuse("tokenizer.ggml.merges", f"is missing; the tokenizer {model} needs it")
    _distinct(keys, tokens)
    if model == "llama":
        _byte_tokens(keys, tokens)
    if model == "rwkv":
        _rwkv(keys, tokens)
    return _special_ids(keys, model, len(tokens))


def _distinct(keys: Keys, tokens: StringArray) -> None:
    """llama.cpp asserts that texts are distinct, after naming the empty ones (llama_vocab::impl::load)."""
    def text(i: int) -> bytes:
        return tokens.raw(i) or b"[EMPTY_%d]" % i

    hashes = np.fromiter((hash(text(i)) for i in range(len(tokens))), np.int64, len(tokens))
    order = np.argsort(hashes, kind="stable")
    for at in np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]]):
        first, second = int(order[at]), int(order[at + 1])
        if text(first) == text(second):
            keys.refuse("tokenizer.ggml.tokens", f"has the text {shown(tokens[first])} twice, as ids {first} and "
                        f"{second}; llama.cpp cannot load such a vocabulary")


def _byte_tokens(keys: Keys, tokens: StringArray) -> None:
    """SentencePiece falls back to bytes, and llama_tokenize throws across the C boundary if one is absent."""
    named = {b"<0x%02X>" % byte: byte for byte in range(256)} | {bytes([byte]): byte for byte in range(256)}
    missing = set(range(256)) - {named[raw] for raw in set(named).intersection(tokens.raws())}
    if missing:
        keys.refuse("tokenizer.ggml.tokens", f"has no token for {len(missing)} bytes, first <0x{min(missing):02X}>; "
                    "the tokenizer llama needs one for each")


def _rwkv(keys: Keys, tokens: StringArray) -> None:
    """RWKV's greedy tokenizer never ends at a byte that begins tokens but is none itself."""
    if keys.header.architecture not in ("rwkv6", "rwkv7"):
        keys.refuse("tokenizer.ggml.model", f"is rwkv in a model of architecture {keys.header.architecture}")
    escapes = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}

    def plain(match: re.Match[bytes]) -> bytes:
        return bytes([int(match[2], 16)]) if match[2] else escapes.get(match[1], match[1])

    texts = {re.sub(rb"(?s)\\(x([0-9a-f]{2})|.)", plain, raw) for raw in tokens.raws()}
    for text in texts:
        if text and text[:1] not in texts:
            keys.refuse("tokenizer.ggml.tokens", f"has tokens that begin with {text[:1]!r} but no such token")


def _special_ids(keys: Keys, model: str, n: int) -> list[str]:
    """Warnings for ids that llama.cpp ignores; refused if it would have to add one that does not exist."""
    warnings = []
    ids = {"bos": _DEFAULT_BOS.get(model, n), "eos": _DEFAULT_EOS.get(model, n)}
    for name in _SPECIALS:
        key = f"tokenizer.ggml.{name}_token_id"
        value = keys.get(key, "u32")
        if isinstance(value, int) and value < n:
            ids[name] = value
        elif value is not None:
            warnings.append(f"{keys.header.path}: {shown(key)} is {value}, outside the {n} tokens; ignored")
    for name, default in (("bos", model in ("llama", "gemma4")), ("eos", False)):
        key = f"tokenizer.ggml.add_{name}_token"
        wanted = keys.get(key, "bool")
        if (default if wanted is None else wanted) and ids[name] >= n:
            keys.refuse(key, f"asks for a token that the vocabulary does not have ({name}_token_id)")
    size = keys.get(keys.own("vocab_size"), "u32")
    if size is not None and size != n:
        warnings.append(f"{keys.header.path}: {shown(keys.own('vocab_size'))} is {size}, but there are {n} tokens")
    return warnings
