"""Every id of every vocabulary that llama.cpp ships, against what the file itself says; and text to ids and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gguf
import pytest

from ledlocal.runtime.header import read_header
from ledlocal.runtime.scanner import StringArray
from ledlocal.runtime.vocabulary import Vocabulary, open_vocabulary
from ledlocal.values.errors import BadInput

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # gguf.TokenType
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's stand-in

MODELS = {
    "aquila": "gpt2", "command-r": "gpt2", "deepseek-coder": "gpt2", "deepseek-llm": "gpt2", "falcon": "gpt2",
    "gpt-2": "gpt2", "gpt-neox": "gpt2", "llama-bpe": "gpt2", "mpt": "gpt2", "qwen2": "gpt2", "qwen35": "gpt2",
    "refact": "gpt2", "starcoder": "gpt2", "gemma-4": "gemma4", "baichuan": "llama", "llama-spm": "llama",
    "phi-3": "llama", "bert-bge": "bert", "nomic-bert-moe": "t5",
}
"""Every vocabulary file of llama.cpp 0c1e57098 and its `tokenizer.ggml.model`."""

SPACED = ["baichuan", "llama-spm", "phi-3"]
"""These put a space before each text."""
LOSSLESS = [name for name, model in MODELS.items() if model not in ("bert", "t5")]
"""Embedding models (bert, t5) normalize: they lower case, join spaces and have <unk>; no text comes back from them."""
LOST = {"baichuan": SPACE, "llama-spm": SPACE, "phi-3": SPACE, "gemma-4": SPACE}
"""The one character that does not come back: as the stand-in of a space it becomes one, as in SentencePiece itself."""
BOS = {"baichuan", "bert-bge", "command-r", "deepseek-coder", "deepseek-llm", "gemma-4", "llama-bpe", "llama-spm",
       "nomic-bert-moe", "phi-3"}
"""Vocabularies whose prompts begin with BOS (or BERT's CLS), as their models were trained."""
ENDS = {
    "qwen2": {"<|endoftext|>", "<|im_end|>", "</s>"},  # llama.cpp ends at any token named </s>
    "llama-bpe": {"<|end_of_text|>", "<|eot_id|>"},
    "llama-spm": {"</s>"},
    "phi-3": {"</s>", "<|endoftext|>", "<|end|>"},
    "gemma-4": {"<eos>", "<turn|>", "<|tool_response>"},
}
PROMOTED = {"aquila": {"<|endoftext|>"}, "qwen2": {"</s>"}, "qwen35": {"</s>"}}
"""NORMAL in the file, made control tokens by llama.cpp at load because of their name."""
SPACE_RUNS = {" " * n for n in range(2, 25)}
BYTES_AS_TEXT = set("õ÷ÁýÀÿøúþüùöû")
PLAIN = {"gpt-neox": SPACE_RUNS, "mpt": SPACE_RUNS, "deepseek-coder": BYTES_AS_TEXT, "deepseek-llm": BYTES_AS_TEXT}
"""User-defined tokens that are ordinary text and no markup."""

TEXTS = {
    "code": "".join(f"{' ' * n}x{n} = [{n}]\n" for n in range(1, 201)),
    "cjk": "你好，世界。日本語のテキスト 한국어 텍스트",
    "emoji": "👍🏽 👩‍👩‍👧‍👦 🇩🇪 e\u0301 \u00e9 ñ",
    "nul": "a\0b\0\0 c\0",
    "control characters": "\t\r\n\x7f\x01\ufeff\x1f",
    "spaces at the ends": "  lead and trail  ",
    "rare planes": "\U0010ffff\U000e0001\ufffd𝔘",
    "line ends": "a\r\n\r\n\n\n\nb",
    "empty": "",
}


class File(NamedTuple):
    """A vocabulary as llama.cpp loads it, and what its file says."""

    name: str
    vocabulary: Vocabulary
    tokens: list[bytes]
    types: list[int]


@pytest.fixture(scope="module")
def file(request: pytest.FixtureRequest, sdist: Path) -> Iterator[File]:
    path = sdist / "vendor" / "llama.cpp" / "models" / f"ggml-vocab-{request.param}.gguf"
    metadata = read_header(path).metadata
    assert metadata["tokenizer.ggml.model"] == MODELS[request.param]
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    assert isinstance(tokens, StringArray)
    with open_vocabulary(path) as vocabulary:
        yield File(request.param, vocabulary, list(tokens.raws()), [int(kind) for kind in types])  # type: ignore[union-attr]


def of(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", names, indirect=True)


def byte_alphabet() -> dict[str, int]:
    """GPT-2's bytes_to_unicode (openai/gpt-2, src/encoder.py), turned around."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


ALPHABET = byte_alphabet()


def expected_bytes(model: str, token: bytes, kind: int) -> bytes:
    """What a token writes, by the rules of its tokenizer.

    Control, unknown and user-defined tokens are literal text. gpt2: one byte per character of the byte alphabet; a
    token with any other character is literal, as in the ByteLevel decoder of Hugging Face's tokenizers. llama, t5 and
    gemma4 (a BPE with SentencePiece's texts): the stand-in is a space, and <0xXX> the byte. bert: the stand-in begins
    the pieces that begin a word in llama.cpp's files, so the same rule holds.
    """
    if kind in (CONTROL, UNKNOWN, USER_DEFINED):
        return token
    if kind == UNUSED:
        return b""  # padding rows of the matrix; they have no text
    if kind == BYTE:
        assert token[:3] == b"<0x"
        assert len(token) == 6
        return bytes([int(token[3:5], 16)])
    assert kind == NORMAL
    if model == "gpt2":
        text = token.decode()
        return bytes(map(ALPHABET.__getitem__, text)) if ALPHABET.keys() >= set(text) else token
    return token.replace(SPACE.encode(), b" ")


def join(vocabulary: Vocabulary, ids: list[int]) -> bytes:
    return b"".join(map(vocabulary.piece, ids))


@of(*MODELS)
def test_every_token_is_its_exact_bytes(file: File) -> None:
    assert file.vocabulary.n == len(file.tokens) == len(file.types) > 30_000
    model = MODELS[file.name]
    wrong = [(i, token, file.vocabulary.piece(i)) for i, (token, kind) in enumerate(zip(file.tokens, file.types,
             strict=True)) if file.vocabulary.piece(i) != expected_bytes(model, token, kind)]
    assert not wrong


@of("command-r")
def test_tokens_outside_the_byte_alphabet_stand_for_themselves(file: File) -> None:
    outside = [i for i, (token, kind) in enumerate(zip(file.tokens, file.types, strict=True))
               if kind == NORMAL and not ALPHABET.keys() >= set(token.decode())]
    assert len(outside) == 1403
    assert all(file.vocabulary.piece(i) == file.tokens[i] for i in outside)


@of(*MODELS)
def test_an_id_out_of_range_is_refused(file: File) -> None:
    vocabulary = file.vocabulary
    for token in (-1, vocabulary.n, -2**31, 2**31 - 1, 2**32, 2**64):
        for ask in (vocabulary.piece, vocabulary.text_of, vocabulary.is_control, vocabulary.is_end,
                    vocabulary.is_unknown, vocabulary.strips):
            with pytest.raises(ValueError, match=rf"{token} is not in 0 \.\.\. {vocabulary.n - 1}"):
                ask(token)


@of(*LOSSLESS)
def test_text_comes_back(file: File) -> None:
    vocabulary = file.vocabulary
    for text in TEXTS.values():
        data = text.encode()
        space = b" " if text and file.name in SPACED else b""
        assert join(vocabulary, vocabulary.tokenize(text, special=False)) == space + data
        assert vocabulary.tokenize(data, special=False) == vocabulary.tokenize(text, special=False)
        assert join(vocabulary, vocabulary.tokenize(text, special=False, continues=True)) == data


@of(*LOSSLESS)
def test_only_the_stand_in_of_the_space_is_lost(file: File) -> None:
    back = join(file.vocabulary, file.vocabulary.tokenize(f"x{SPACE}y", special=False, continues=True))
    assert back.decode() == ("x y" if LOST.get(file.name) == SPACE else f"x{SPACE}y")


@of(*LOSSLESS)
def test_control_texts_are_control_tokens_only_when_asked(file: File) -> None:
    vocabulary = file.vocabulary
    controls = [i for i, kind in enumerate(file.types) if kind == CONTROL]
    assert controls
    for token in controls:
        text = file.tokens[token].decode()
        assert vocabulary.is_control(token)
        assert vocabulary.find(text) == token
        assert vocabulary.tokenize(f"a{text}b", special=True).count(token) == 1
        plain = vocabulary.tokenize(f"a{text}b", special=False)
        assert not any(map(vocabulary.is_control, plain))
        assert join(vocabulary, plain).lstrip() == f"a{text}b".encode()


@of(*MODELS)
def test_special_tokens_are_the_markup(file: File) -> None:
    plain, promoted = PLAIN.get(file.name, set()), PROMOTED.get(file.name, set())
    texts = [token.decode() for token in file.tokens]
    assert file.vocabulary.special_tokens == {
        text: i for i, (text, kind) in enumerate(zip(texts, file.types, strict=True))
        if (kind in (CONTROL, UNKNOWN, USER_DEFINED) and text not in plain) or text in promoted}
    assert plain <= {text for text, kind in zip(texts, file.types, strict=True) if kind == USER_DEFINED}


@of(*MODELS)
def test_bos_is_added_where_models_were_trained_so(file: File) -> None:
    assert file.vocabulary.adds_bos == (file.name in BOS)
    assert file.vocabulary.tokenize("a", special=True)[0] != file.vocabulary.bos_id


@of(*ENDS)
def test_tokens_that_end(file: File) -> None:
    vocabulary = file.vocabulary
    assert {file.tokens[i].decode() for i in range(vocabulary.n) if vocabulary.is_end(i)} == ENDS[file.name]
    assert vocabulary.eos in ENDS[file.name]


@of("llama-spm", "qwen2")
def test_what_is_spoken_is_the_text_without_markup_and_whether_it_ends(file: File) -> None:
    vocabulary = file.vocabulary
    for i in range(vocabulary.n):
        expected = b"" if vocabulary.is_control(i) else vocabulary.piece(i), vocabulary.is_end(i)
        assert vocabulary.spoken(i) == vocabulary.spoken(i) == expected


@of("llama-spm")
def test_what_llama_says_of_its_tokens(file: File) -> None:
    vocabulary = file.vocabulary
    assert (vocabulary.bos_id, vocabulary.bos, vocabulary.eos_id, vocabulary.eos) == (1, "<s>", 2, "</s>")
    assert [i for i in range(vocabulary.n) if vocabulary.is_unknown(i)] == [0]
    assert vocabulary.text_of(3 + 0xE4) == "\ufffd"  # half a character, shown alone
    assert vocabulary.find("<s>") == 1
    assert vocabulary.find("two words") is None


@of("phi-3")
def test_tokens_that_swallow_white_space(file: File) -> None:
    end = file.vocabulary.find("<|end|>")
    assert end is not None
    assert file.vocabulary.strips(end) == (False, True)
    assert file.vocabulary.strips(file.tokens.index(b"<s>")) == (False, False)
    assert file.vocabulary.tokenize("<|end|>\n\n", special=True) == [end]


@of("llama-bpe", "llama-spm")
def test_text_that_is_not_unicode_is_refused(file: File) -> None:
    with pytest.raises(BadInput, match=r"not Unicode: character 2 is '\\udcff'"):
        file.vocabulary.tokenize("ab\udcff", special=False)
    with pytest.raises(BadInput, match="not Unicode"):
        file.vocabulary.tokenize("\ud800", special=True, continues=True)
    with pytest.raises(BadInput, match="not UTF-8: invalid start byte at byte 1"):
        file.vocabulary.tokenize(b"a\xff", special=False)


@of("llama-bpe", "gpt-2", "qwen2")
@pytest.mark.parametrize("run", ["x", "你", "7", " ", "=", "_"])
def test_a_long_run_is_refused_with_its_place(file: File, run: str) -> None:
    before = "a, " * 3400
    with pytest.raises(BadInput, match="repeats one kind of character") as error:
        file.vocabulary.tokenize(before + run * 20_000, special=False)
    place = int(str(error.value).split("from character ")[1].split(":")[0])
    assert len(before) - 1 <= place < len(before) + 8192  # a block of 8,192 inside the run
    with pytest.raises(BadInput):
        file.vocabulary.tokenize("\n" * 5 + run * 16_383, special=False)
    text = run * 8191 + ("." if run.isspace() else "\n")
    assert join(file.vocabulary, file.vocabulary.tokenize(text, special=False)) == text.encode()


@of("llama-spm")
def test_sentencepiece_takes_a_long_run(file: File) -> None:
    assert join(file.vocabulary, file.vocabulary.tokenize("x" * 100_000, special=False)) == b" " + b"x" * 100_000


@of("llama-bpe", "llama-spm", "gemma-4", "qwen2")
def test_a_megabyte_of_mixed_text(file: File) -> None:
    part = "def f(x):\n    return x ** 2  # 你好 👍🏽\n\nThe quick brown fox, 12345.678! naïve Ελληνικά\t\0\n"
    text = part * (1_000_000 // len(part.encode()) + 1)
    ids = file.vocabulary.tokenize(text, special=False, continues=True)
    assert join(file.vocabulary, ids) == text.encode()


def write_vocabulary(path: Path, model: str, user_defined: tuple[str, ...] = ()) -> None:
    """A file with metadata only: SentencePiece's three specials, all bytes, and user-defined tokens."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *user_defined]
    types = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[USER_DEFINED] * len(user_defined)]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(8)
    writer.add_tokenizer_model(model)
    if model != "no_vocab":
        writer.add_token_list(tokens)
        writer.add_token_types(types)
        writer.add_token_scores([0.0] * len(tokens))
    else:
        writer.add_vocab_size(8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def test_html_words_and_spaces_are_no_markup(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.gguf"
    markup = ("<think>", "</think>", "[INST]", "<｜User｜>", "<tables>", "◁think▷", "<|")
    write_vocabulary(path, "llama", (*markup, "<table>", "</h1>", "<br>", "<strong>", "    ", "think", "|", "<"))
    with open_vocabulary(path) as vocabulary:
        assert set(vocabulary.special_tokens) == {"<unk>", "<s>", "</s>", *markup}
        assert vocabulary.find("<table>") == 3 + 256 + len(markup)
        assert vocabulary.tokenize("<think>", special=False, continues=True) == [3 + 256]  # user-defined: in any case


def test_a_model_without_vocabulary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.gguf"
    write_vocabulary(path, "no_vocab")
    with pytest.raises(BadInput, match="no vocabulary"), open_vocabulary(path):
        pass


def test_a_file_that_is_no_vocabulary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_bytes(b"GGUF but not really")
    with pytest.raises(BadInput, match=r"text\.gguf: llama\.cpp cannot read its vocabulary: ."), open_vocabulary(path):
        pass
