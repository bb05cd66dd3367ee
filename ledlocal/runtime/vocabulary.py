"""A model's tokens: exact bytes of every id, and text to ids without a crash or a lost byte.

llama.cpp (src/llama-vocab.cpp of 0c1e57098, vendored by llama-cpp-python 0.3.36) throws C++ exceptions through ctypes
on a bad id and overflows its stack on some texts, so everything is checked here first.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from ledlocal.runtime.library import C
from ledlocal.runtime.llama import log_lines, start_backend
from ledlocal.values.errors import BadInput

_NONE, _BPE = 0, 2  # llama.h, enum llama_vocab_type
_UNKNOWN, _CONTROL, _USER_DEFINED, _LSTRIP, _RSTRIP = 1, 8, 16, 128, 256  # llama.h, enum llama_token_attr

_RUN = 8192
_ONE_KIND = re.compile(r"[^\W\d_]+|\d+|\s+|(?:[^\w\s]|_)+")
"""Classes that pre-tokenizers repeat over: letters, digits, spaces, the rest."""

_BRACKETS = re.compile(r"[<>\[\]|｜◁▷]")
_HTML = re.compile(r"</?(?:table|caption|thead|tbody|tfoot|tr|th|td|ul|ol|li|dl|dt|dd|h[1-6]|p|br|hr|div|span|a|img|"
                   r"pre|blockquote|strong|em|b|i|u|sub|sup|code)>")
_SENTINEL = "\x1f"


def utf8(text: str) -> bytes:
    """Bytes of a text. Raises BadInput on half of a surrogate pair, as an argument that is not UTF-8 leaves it."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"the text is not Unicode: character {error.start} is {text[error.start]!a}") from None


class Vocabulary:
    """The tokens of a model that llama.cpp has loaded; the model must outlive it."""

    def __init__(self, handle: object) -> None:
        """From `Model.vocab`. Raises BadInput if the model has no vocabulary."""
        self._type = C.llama_vocab_type(handle)
        if self._type == _NONE:
            raise BadInput("the model has no vocabulary: it cannot read or write text")
        self._handle = handle
        self.n: int = C.llama_vocab_n_tokens(handle)
        """Number of ids."""
        self.adds_bos = bool(C.llama_vocab_get_add_bos(handle))
        """Whether a prompt must begin with `bos_id`."""
        self.bos_id = self._optional(C.llama_vocab_bos(handle))
        self.eos_id = self._optional(C.llama_vocab_eos(handle))
        # asked for every token that is drawn, and a dictionary answers ten times as fast as llama.cpp through ctypes
        self._pieces: dict[int, bytes] = {}
        self._spoken: dict[int, tuple[bytes, bool]] = {}

    def _optional(self, token: int) -> int | None:
        return token if 0 <= token < self.n else None

    def _check(self, token: int) -> None:
        if not 0 <= token < self.n:
            raise ValueError(f"token id {token} is not in 0 ... {self.n - 1}")

    @property
    def bos(self) -> str:
        """Text of the token that begins a prompt, empty if there is none."""
        return "" if self.bos_id is None else self.text_of(self.bos_id)

    @property
    def eos(self) -> str:
        """Text of the token that ends a turn or document, empty if there is none."""
        return "" if self.eos_id is None else self.text_of(self.eos_id)

    def piece(self, token: int) -> bytes:
        """Exact bytes of a token, special ones as their text; empty for padding ids of type UNUSED.

        Raises ValueError if the id is out of range.
        """
        if token not in self._pieces:
            self._pieces[token] = self._read_piece(token)
        return self._pieces[token]

    def _read_piece(self, token: int) -> bytes:
        self._check(token)
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = C.llama_token_to_piece(self._handle, token, buffer, size, 0, True)
            if length >= 0:
                break
            size = -length
        piece = buffer.raw[:length]
        # A byte-level token with characters outside the byte alphabet (1,403 of Command R) stands for itself, as in
        # ByteLevel::decode_chain of Hugging Face's tokenizers; llama.cpp writes a description of it instead.
        if b"[UNK_BYTE_0x" in piece and b"[UNK_BYTE_0x" not in (text := C.llama_vocab_get_text(self._handle, token)):
            return bytes(text)
        return piece

    def text_of(self, token: int) -> str:
        """A token shown alone: its bytes as UTF-8, U+FFFD where it holds part of a character."""
        return self.piece(token).decode("utf-8", "replace")

    def is_control(self, token: int) -> bool:
        """Whether the token is markup of the format and no text. Raises ValueError if the id is out of range."""
        self._check(token)
        return bool(C.llama_vocab_is_control(self._handle, token))

    def is_end(self, token: int) -> bool:
        """Whether the token ends generation (end of sequence, turn or message). Raises ValueError like `piece`."""
        self._check(token)
        return bool(C.llama_vocab_is_eog(self._handle, token))

    def spoken(self, token: int) -> tuple[bytes, bool]:
        """What a token adds to a text, nothing if it is markup, and whether it ends generation. Raises like `piece`."""
        known = self._spoken.get(token)
        if known is None:
            known = b"" if self.is_control(token) else self.piece(token), self.is_end(token)
            self._spoken[token] = known
        return known

    def strips(self, token: int) -> tuple[bool, bool]:
        """Whether parsing this special token swallows the white space before and after it. Raises like `piece`."""
        attr = self._attr(token)
        return bool(attr & _LSTRIP), bool(attr & _RSTRIP)

    def is_unknown(self, token: int) -> bool:
        """Whether the token stands for text the vocabulary cannot write. Raises ValueError like `piece`."""
        return bool(self._attr(token) & _UNKNOWN)

    def _attr(self, token: int) -> int:
        self._check(token)
        return int(C.llama_vocab_get_attr(self._handle, token))

    @cached_property
    def special_tokens(self) -> dict[str, int]:
        """Texts that a template may use as markup, with their ids: what user text must not become.

        All control and unknown tokens, and of the user-defined ones (`<think>`, `<tool_call>`) those with brackets or
        bars in them, except HTML elements; runs of spaces, HTML and plain words stay ordinary text.
        """
        specials = {}
        for token in range(self.n):
            attr = C.llama_vocab_get_attr(self._handle, token)
            if attr & (_CONTROL | _UNKNOWN | _USER_DEFINED):
                text = self.text_of(token)
                if attr & (_CONTROL | _UNKNOWN) or _looks_special(text):
                    specials[text] = token
        return specials

    def find(self, text: str) -> int | None:
        """The id that the tokenizer gives for exactly this text; None if it takes several."""
        ids = self.tokenize(text, special=True, continues=True)
        return ids[0] if len(ids) == 1 and self.text_of(ids[0]) == text else None

    def tokenize(self, text: str | bytes, special: bool, continues: bool = False) -> list[int]:
        """Ids of a text, NUL bytes included, without a BOS token.

        `special`: texts of control tokens become those tokens; user-defined tokens are parsed in any case.
        `continues`: more of a text that already began, so no space is put before it (SentencePiece models).
        Raises BadInput if the text is not Unicode, or would overflow the stack of llama.cpp's regular expressions.
        """
        if isinstance(text, bytes):
            try:
                text = text.decode()
            except UnicodeDecodeError as error:
                raise BadInput(f"the text is not UTF-8: {error.reason} at byte {error.start}") from None
        if self._type == _BPE:
            _refuse_long_runs(text)
        if continues and self._prefix:
            ids = self._tokenize(utf8(_SENTINEL + text), special)
            if ids[:len(self._prefix)] != self._prefix:
                raise BadInput(f"the vocabulary joins {text[:20]!r} to the character before it")
            return ids[len(self._prefix):]
        return self._tokenize(utf8(text), special)

    def with_bos(self, ids: list[int]) -> list[int]:
        """A prompt's ids behind the BOS token, where this vocabulary wants one and none is there."""
        wanted = self.adds_bos and self.bos_id is not None and ids[:1] != [self.bos_id]
        return [self.bos_id, *ids] if wanted and self.bos_id is not None else ids

    @cached_property
    def _prefix(self) -> list[int]:
        """Ids of the sentinel where the tokenizer puts a space before each text, empty where it does not."""
        spaced = b"".join(map(self.piece, self._tokenize(b"a", False))) == b" a"
        return self._tokenize(_SENTINEL.encode(), False) if spaced else []

    def _tokenize(self, data: bytes, special: bool) -> list[int]:
        size = len(data) + 16
        while True:
            if size >= 2**31:
                raise BadInput(f"the text is too long: {len(data)} bytes")
            tokens = (C.llama_token * size)()
            count = C.llama_tokenize(self._handle, data, len(data), tokens, size, False, special)
            if count >= 0:
                return list(tokens[:count])
            size = -count


def _looks_special(text: str) -> bool:
    return len(text) > 1 and bool(_BRACKETS.search(text)) and not _HTML.fullmatch(text)


def _refuse_long_runs(text: str) -> None:
    """Refuse runs that std::regex would recurse over: measured, it ends the process at 25,600 characters of one kind.

    Every run of 16,383 characters holds one whole block of 8,192; no run below 8,192 does.
    """
    for start in range(0, len(text) - _RUN + 1, _RUN):
        if _ONE_KIND.fullmatch(text, start, start + _RUN):
            raise BadInput(f"the text repeats one kind of character more than {_RUN} times without a break, "
                           f"from character {start}: llama.cpp's tokenizer cannot take that")


@contextmanager
def open_vocabulary(path: Path) -> Iterator[Vocabulary]:
    """The vocabulary of a GGUF file without its weights. Raises BadInput if llama.cpp cannot read it."""
    start_backend()
    params = C.llama_model_default_params()
    params.vocab_only = True
    log_lines.clear()
    model = C.llama_model_load_from_file(bytes(path), params)
    if not model:
        raise BadInput(f"{path}: llama.cpp cannot read its vocabulary: {' '.join(log_lines) or 'no reason given'}")
    try:
        yield Vocabulary(C.llama_model_get_vocab(model))
    finally:
        C.llama_model_free(model)
