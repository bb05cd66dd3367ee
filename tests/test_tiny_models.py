"""The tiny models are what the other tests stand on: they load, decode, and carry a vocabulary one can chat with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jinja2
import llama_cpp.llama_cpp as C
import numpy as np
import pytest
from gguf import GGUFReader, dequantize
from tiny_models import (
    CHATML,
    END_THINK,
    ENDOFTEXT,
    F16,
    F32,
    IM_END,
    IM_START,
    Q4_K,
    Q6_K,
    Q8_0,
    THINK,
    TinyModels,
    known_residual_model,
    tiny_model,
)
from tiny_recipes import RECIPES

from ledlocal.runtime.llama import Context, Model, Row, context_params


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    return TinyModels(tmp_path_factory.mktemp("tiny"))


@contextmanager
def opened(path: Path, n_ctx: int = 128) -> Iterator[Context]:
    model = Model(path)
    context = Context(model, context_params(n_ctx, 2, 64, 1, False))
    yield context
    context.close()
    model.close()


def final_logits(context: Context) -> np.ndarray:
    """Two sequences with prompts of 5 and 1 tokens, then one output each, (2, V)."""
    # every token is an output: llama.cpp 0.3.36 aborts where chameleon decodes a batch without any
    for i, token in enumerate(b"hello"):
        assert context.decode([Row(token, i, 0, True)])
    assert context.decode([Row(IM_START, 5, 0, True), Row(IM_START, 0, 1, True)])
    return np.stack([context.logits(0), context.logits(1)])


@pytest.mark.parametrize("architecture", RECIPES)
def test_every_architecture_decodes_two_sequences(models: TinyModels, architecture: str) -> None:
    with opened(models(architecture)) as context:
        z = final_logits(context)
        # chameleon suppresses its image tokens 4 ... 8195 with the lowest float
        usable = z[:, 8196:] if architecture == "chameleon" else z
        assert np.isfinite(z).all()
        assert 0.3 < usable.std() < 6
        assert not np.allclose(z[0], z[1], atol=0.05), "the prompt makes no difference"


def test_kinds_of_memory(models: TinyModels) -> None:
    for architecture, recurrent, hybrid in (("qwen3", 0, 0), ("mamba", 1, 0), ("lfm2", 0, 1), ("granitehybrid", 0, 1)):
        with opened(models(architecture)) as context:
            assert (context.model.recurrent, context.model.hybrid) == (recurrent, hybrid)


@pytest.mark.parametrize("head_type", [F32, F16, Q8_0, Q4_K, Q6_K])
@pytest.mark.parametrize("tied", [False, True])
def test_output_matrices(models: TinyModels, head_type: int, tied: bool) -> None:
    path = models("qwen3", head_type=head_type, tied=tied, n_embd=256, n_layer=2)
    tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    assert ("output.weight" in tensors) != tied
    matrix = tensors["token_embd.weight" if tied else "output.weight"]
    values = dequantize(matrix.data, matrix.tensor_type)
    assert matrix.tensor_type == head_type
    assert values.shape == (320, 256)
    assert values.std() * 16 == pytest.approx(3.0, rel=0.1)
    assert abs(values.mean()) < 0.05 * values.std()
    with opened(path) as context:
        assert 1.5 < final_logits(context).std() < 6


def test_options_reach_the_model(models: TinyModels) -> None:
    with opened(models("gemma3", soft_cap=2.0)) as context:
        assert 1.5 < np.abs(final_logits(context)).max() <= 2.0
    with opened(models("granite")) as third, opened(models("granite", logit_scale=30.0)) as thirtieth:
        np.testing.assert_allclose(final_logits(third), final_logits(thirtieth) * 10, rtol=1e-4, atol=1e-4)
    with opened(models("qwen2", bias=True)) as context:
        assert context.model.n_layer == 6
    with opened(models("llama", n_layer=3, vocab=700)) as context:
        assert (context.model.n_layer, context.model.n_vocab) == (3, 700)


def test_same_seed_same_file(tmp_path: Path) -> None:
    files = [tiny_model(tmp_path / f"{i}.gguf", "qwen3", seed=seed).read_bytes() for i, seed in enumerate((1, 1, 2))]
    assert files[0] == files[1] != files[2]


def tokens_of(context: Context, text: bytes) -> list[int]:
    out = (C.llama_token * 200)()
    n = C.llama_tokenize(context.model.vocab, text, len(text), out, 200, True, True)
    return list(out[:n])


def test_vocabulary(models: TinyModels) -> None:
    with opened(models("qwen3")) as context:
        vocab = context.model.vocab
        text = "<|im_start|>user\nzé </think>".encode()
        assert tokens_of(context, text) == [IM_START, *b_ids(b"us"), 265, *b_ids(b"\n" + "zé ".encode()), END_THINK]
        assert tokens_of(context, b"the") == [262]  # t h -> th, th e -> the
        assert tokens_of(context, b"<|endoftext|><think>") == [ENDOFTEXT, THINK]
        assert [bool(C.llama_vocab_is_eog(vocab, i)) for i in (IM_END, ENDOFTEXT, THINK, 65)] == [True, True, False,
                                                                                                   False]
        assert [bool(C.llama_vocab_is_control(vocab, i)) for i in (IM_START, IM_END, THINK)] == [True, True, False]
        buffer = C.ctypes.create_string_buffer(16)
        for byte in range(256):
            assert C.llama_token_to_piece(vocab, byte, buffer, 16, 0, True) == 1
            assert buffer.raw[0] == byte


def b_ids(text: bytes) -> list[int]:
    """A byte's token id is the byte."""
    return list(text)


def test_too_small_a_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="300"):
        tiny_model(tmp_path / "x.gguf", "qwen3", vocab=100)


def test_chat_template(models: TinyModels) -> None:
    stored = GGUFReader(models("qwen3")).fields["tokenizer.chat_template"].contents()
    assert stored == CHATML
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "<think>\nx</think>\n\nyes"}]
    assert jinja2.Template(CHATML).render(messages=turns, add_generation_prompt=True) == (
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n<|im_start|>assistant\n<think>\n")


def test_known_residual_logits_follow_by_hand(tmp_path: Path) -> None:
    known = known_residual_model(tmp_path / "known.gguf")
    with opened(known.path) as context:
        z = final_logits(context)
    last = known.residual(IM_START, len(known.steps))
    by_hand = known.head @ (last / np.sqrt(np.square(last).mean() + 1e-5))
    np.testing.assert_allclose(z, np.stack([by_hand, by_hand]), atol=2e-5)
    assert np.abs(known.steps).sum(1).min() > 0
