"""A byte-level BPE that llama.cpp reproduces exactly (tokenizer.ggml.model "gpt2", pre "llama-bpe").

256 bytes, merges that make every number below 200 one token, merges of words learnt on the training documents, and
five special tokens.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import regex

from demo.document import END_THINK, END_TURN, THINK, TURN, document

END_OF_TEXT = "<|endoftext|>"
CONTROL = (END_OF_TEXT, TURN, END_TURN)
USER_DEFINED = (THINK, END_THINK)
WORD_MERGES = 420
_SPECIALS = (*CONTROL, *USER_DEFINED)
_DIGITS = "0123456789"
# llama.cpp's own expression for llama-bpe (src/llama-vocab.cpp, LLAMA_VOCAB_PRE_TYPE_LLAMA3).
_PIECES = regex.compile(r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|"
                        r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
_AROUND_SPECIALS = regex.compile("(" + "|".join(map(regex.escape, _SPECIALS)) + ")")


def _alphabet() -> list[str]:
    """The character that stands for each byte (GPT-2's table): itself where it can be seen."""
    seen = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    return [chr(byte if byte in seen else next(others)) for byte in range(256)]


_CHARACTER = _alphabet()
_BYTE = {character: byte for byte, character in enumerate(_CHARACTER)}


class Tokenizer:
    """Text to ids and back; ids follow the order bytes, merges, special tokens."""

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        self.merges = tuple(merges)
        self.tokens = (*_CHARACTER, *("".join(pair) for pair in merges), *_SPECIALS)
        self._rank = {pair: rank for rank, pair in enumerate(merges)}
        self._id = {token: i for i, token in enumerate(self.tokens)}
        if len(self._id) != len(self.tokens):
            raise ValueError("two merges make the same token")
        self._known: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def id(self, special: str) -> int:
        """Of one of the special tokens."""
        return self._id[special]

    def encode(self, text: str) -> list[int]:
        """Special tokens in `text` are read as such."""
        ids: list[int] = []
        for part in _AROUND_SPECIALS.split(text):
            if part in _SPECIALS:
                ids.append(self._id[part])
            else:
                for piece in _PIECES.findall(part):
                    ids += self._piece(_mapped(piece))
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self.bytes(i) for i in ids).decode("utf-8", "replace")

    def bytes(self, token: int) -> bytes:
        """What one token stands for."""
        text = self.tokens[token]
        return text.encode() if text in _SPECIALS else bytes(_BYTE[character] for character in text)

    def _piece(self, text: str) -> list[int]:
        if text not in self._known:
            # llama.cpp takes a whole piece that is a token without merging (ignore_merges of llama-bpe).
            parts = [text] if text in self._id else self._merged(text)
            self._known[text] = [self._id[part] for part in parts]
        return self._known[text]

    def _merged(self, text: str) -> list[str]:
        parts = list(text)
        while len(parts) > 1:
            rank, i = min((self._rank.get(pair, len(self._rank)), i) for i, pair in enumerate(pairwise(parts)))
            if rank == len(self._rank):
                break
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return parts


def learn(seed: int, documents: int = 4000) -> Tokenizer:
    """Of this many training documents the same merges each time."""
    rng = random.Random(f"{seed}/tokenizer")
    words: Counter[str] = Counter()
    for _ in range(documents):
        one = document(rng)
        for part in _AROUND_SPECIALS.split(one.prompt + one.reply):
            if part not in _SPECIALS:
                words.update(_mapped(piece) for piece in _PIECES.findall(part) if _is_word(piece))
    numbers = [(a, b) for a in _DIGITS for b in _DIGITS] + [(f"1{a}", b) for a in _DIGITS for b in _DIGITS]
    return Tokenizer([*numbers, (_mapped("\n"), _mapped("\n")), *_word_merges(words)])


def _word_merges(words: Counter[str]) -> list[tuple[str, str]]:
    """The most frequent neighbours, again and again; of equally frequent ones the last by code point."""
    merges: list[tuple[str, str]] = []
    parts = {text: list(text) for text in words}
    while len(merges) < WORD_MERGES:
        pairs: Counter[tuple[str, str]] = Counter()
        for text, split in parts.items():
            for pair in pairwise(split):
                pairs[pair] += words[text]
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for split in parts.values():
            i = 0
            while i < len(split) - 1:
                if (split[i], split[i + 1]) == best:
                    split[i:i + 2] = [split[i] + split[i + 1]]
                i += 1
    return merges


def _is_word(piece: str) -> bool:
    return regex.search(r"\p{L}", piece) is not None


def _mapped(piece: str) -> str:
    return "".join(_CHARACTER[byte] for byte in piece.encode())
