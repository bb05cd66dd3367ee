"""What is refused before llama.cpp sees it, and that nothing good is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_ggufs import MODEL, VOCABULARY, Case, Gguf, Tensor, good, put
from tiny_models import tiny_model
from tiny_recipes import RECIPES

import ledlocal.demo
from ledlocal.runtime.architectures import ARCHITECTURES, EQUAL_HEADS, FULL_ROTATION, NOT_FOR_CHAT, RECURRENT
from ledlocal.runtime.header import read_header
from ledlocal.runtime.preflight import check_model
from ledlocal.values.errors import BadInput

DEMO = Path(ledlocal.demo.__file__).parent / "countdown-rl-f16.gguf"


def checked(path: Path, gguf: Gguf) -> list[str]:
    path.write_bytes(gguf.build())
    return check_model(read_header(path))


def test_the_good_file_and_the_demo_pass(tmp_path: Path) -> None:
    assert checked(tmp_path / "model.gguf", good()) == []
    assert check_model(read_header(DEMO)) == []


RUN = """
import sys
from pathlib import Path
from ledlocal.runtime.llama import Context, Model, Row, context_params
context = Context(Model(Path(sys.argv[1])), context_params(256, 1, 32, 1, False))
assert context.decode([Row(1, 0, 0, False), Row(300, 1, 0, True)])
assert context.logits(1).std() > 0
"""


def test_llama_cpp_decodes_what_passes(tmp_path: Path) -> None:
    whole, first = tmp_path / "model.gguf", tmp_path / "m-00001-of-00002.gguf"
    checked(whole, good())
    split(tmp_path)
    for path in (whole, first):
        subprocess.run([sys.executable, "-c", RUN, str(path)], check=True, capture_output=True)


@pytest.mark.parametrize("architecture", RECIPES)
def test_models_of_every_recipe_pass(architecture: str, tmp_path: Path) -> None:
    assert check_model(read_header(tiny_model(tmp_path / "model.gguf", architecture))) == []


@pytest.mark.parametrize(("architecture", "key", "value"), [
    ("granitehybrid", "ssm.inner_size", 7), ("granitehybrid", "ssm.group_count", 0), ("plamo2", "ssm.group_count", 3),
    ("granitehybrid", "ssm.time_step_rank", 0), ("hy_v4", "attention.key_length_mla", 7),
    ("hy_v4", "attention.value_length_mla", 0),
    ("hy_v4", "attention.key_length", 16), ("qwen35", "ssm.inner_size", 7),
    ("gemma2", "attention.sliding_window", 2**31),
    ("phi2", "rope.dimension_count", 0), ("qwen3", "rope.dimension_count", 6), ("qwen3moe", "expert_used_count", 0)])
def test_what_other_graphs_assert(architecture: str, key: str, value: int, tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "model.gguf", architecture)
    spoiled, name = bytearray(path.read_bytes()), f"{architecture}.{key}".encode()
    at = spoiled.index(name) + len(name) + 4
    spoiled[at:at + 4] = value.to_bytes(4, "little")
    path.write_bytes(spoiled)
    assert key.removesuffix("value_length_mla") in refusal(path)


@pytest.mark.parametrize("case", [*MODEL, *VOCABULARY], ids=lambda case: repr(case.name))
def test_refuses(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(case.build())
    header = read_header(path)
    with pytest.raises(BadInput) as refusal:
        check_model(header)
    message = str(refusal.value)
    assert message.startswith(f"{path}: ") and message.isprintable()
    assert all(word in message for word in case.words), message


def test_warns_of_what_llama_cpp_ignores(tmp_path: Path) -> None:
    gguf = good()
    put("u32", 9999, "tokenizer.ggml.eot_token_id")(gguf)
    put("u32", 9998, "tokenizer.ggml.bos_token_id")(gguf)
    put("u32", 77, "llama.vocab_size")(gguf)
    put("str", b"caf\xe9", "general.name")(gguf)
    warnings = checked(tmp_path / "model.gguf", gguf)
    assert [re.search(r"'([\w.]+)'", warning)[1] for warning in warnings] == [  # type: ignore[index]
        "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eot_token_id", "llama.vocab_size", "general.name"]
    assert "9999" in warnings[1] and "77" in warnings[2] and "UTF-8" in warnings[3]


def add(name: str, kind: int, dtype: str, shape: tuple[int, ...] = (4, 6)) -> Callable[[Gguf], None]:
    return lambda gguf: gguf.tensors.__setitem__(name, Tensor(np.zeros(shape, dtype), kind))


@pytest.mark.parametrize(("name", "kind", "dtype", "shape", "passes"), [
    ("blk.0.ffn_gate_tid2eid.weight", 26, "i4", (4, 6), True),
    ("blk.0.ffn_gate_tid2eid.weight", 0, "f4", (4, 6), False),
    ("d2t", 27, "i8", (6,), True),
    ("blk.0.other.weight", 26, "i4", (4, 6), False),
    ("blk.0.other.weight", 1, "f2", (4, 6), True),
    ("blk.0.other.weight", 1, "f2", (6,), False),
    ("blk.0.other_norm.weight", 1, "f2", (4, 6), False),
    ("blk.0.other_norm.weight", 0, "f4", (4, 6), True),
    ("blk.0.ssm_conv1d.weight", 1, "f2", (4, 6), False),
    ("blk.0.shortconv.conv.weight", 1, "f2", (4, 6), False),
    ("blk.0.ssm_a", 1, "f2", (4, 6), False),
    ("blk.0.ssm_a", 0, "f4", (4, 6), True),
    ("blk.0.attn_q.weight.lora_a", 1, "f2", (4, 6), True),
])
def test_types_by_tensor(name: str, kind: int, dtype: str, shape: tuple[int, ...], passes: bool,
                         tmp_path: Path) -> None:
    gguf = good()
    add(name, kind, dtype, shape)(gguf)
    if passes:
        assert checked(tmp_path / "model.gguf", gguf) == []
    else:
        with pytest.raises(BadInput, match=re.escape(repr(name))):
            checked(tmp_path / "model.gguf", gguf)


def rwkv(tokens: list[str]) -> Gguf:
    """Keys and vocabulary of an rwkv6 model (its tensors are not looked at one by one)."""
    gguf = good()
    gguf.metadata = {str(key).replace("llama.", "rwkv6."): value for key, value in gguf.metadata.items()
                     if "token_type" not in str(key) and "scores" not in str(key)}
    put("str", "rwkv6", "general.architecture")(gguf)
    put("str", "rwkv", "tokenizer.ggml.model")(gguf)
    put("u32", len(tokens), "rwkv6.vocab_size")(gguf)
    put("[str]", tokens, "tokenizer.ggml.tokens")(gguf)
    return gguf


def test_rwkv_needs_a_token_for_every_first_byte(tmp_path: Path) -> None:
    single = ["<s>", "<", "a", "\\x00", "\\n", "\\\\", "\\xe2"]
    assert checked(tmp_path / "model.gguf", rwkv([*single, "abc", "\\n\\n", "\\xe2\\x82\\xac"])) == []
    with pytest.raises(BadInput, match="begin with b'x'"):
        checked(tmp_path / "model.gguf", rwkv([*single, "xyz"]))


def split(folder: Path, **second: tuple[str, Any]) -> Path:
    """A model in two parts; `second` replaces the second part's keys (None drops one). Returns the first part."""
    first, other = good(), Gguf({}, {})
    for name in list(first.tensors)[6:]:
        other.tensors[name] = first.tensors.pop(name)
    keys = {"split.no": ("u16", 1), "split.count": ("u16", 2)} | {k.replace("_", "."): v for k, v in second.items()}
    other.metadata.update(keys)
    put("u16", 0, "split.no")(first)
    put("u16", 2, "split.count")(first)
    put("i32", len(first.tensors) + len(other.tensors), "split.tensors.count")(first)
    (folder / "m-00002-of-00002.gguf").write_bytes(other.build())
    (folder / "m-00001-of-00002.gguf").write_bytes(first.build())
    return folder / "m-00001-of-00002.gguf"


def refusal(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        check_model(read_header(path))
    return str(caught.value)


def test_split_models(tmp_path: Path) -> None:
    first = split(tmp_path)
    second = tmp_path / "m-00002-of-00002.gguf"
    assert check_model(read_header(first)) == []
    assert f"not the first part; open {first.name}" in refusal(second)
    whole = second.read_bytes()
    second.write_bytes(whole[:-200])
    assert refusal(first).startswith(f"{second}: ") and "incomplete" in refusal(first)
    second.unlink()
    assert refusal(first) == f"{second}: part 2 of 2 of the model is missing"
    second.write_bytes(b"nonsense" * 10)
    assert refusal(first).startswith(f"{second}: not a GGUF file")
    renamed = tmp_path / "model.gguf"
    renamed.write_bytes(first.read_bytes())
    assert "-00001-of-00002.gguf" in refusal(renamed)
    second.write_bytes(first.read_bytes())
    assert "first part" in refusal(second)


@pytest.mark.parametrize(("key", "value", "words"), [
    ("split_no", ("u32", 1), "split.no"), ("split_no", ("str", "1"), "split.no"), ("split_no", ("u16", 5), "is 5")])
def test_second_part_of_another_model(key: str, value: tuple[str, Any], words: str, tmp_path: Path) -> None:
    message = refusal(split(tmp_path, **{key: value}))
    assert "m-00002-of-00002.gguf" in message and words in message


def test_parts_that_share_or_miss_tensors(tmp_path: Path) -> None:
    first = split(tmp_path)
    second = tmp_path / "m-00002-of-00002.gguf"
    other = Gguf({"split.no": ("u16", 1)}, {"token_embd.weight": good().tensors["token_embd.weight"]})
    second.write_bytes(other.build())
    assert "'token_embd.weight' is also in m-00001-of-00002.gguf" in refusal(first)
    other.tensors = {"x.weight": other.tensors["token_embd.weight"]}
    second.write_bytes(other.build())
    assert "'split.tensors.count' is 12, but the parts hold 7 tensors" in refusal(first)


def normal(name: str) -> str:
    return re.sub(r"[-_.]", "", name)


def test_architectures_are_those_of_the_source(sdist: Path) -> None:
    source = (sdist / "vendor/llama.cpp/src/llama-arch.cpp").read_text()
    names = set(re.findall(r'\{ LLM_ARCH_\w+,\s+"([^"]+)"', source)) - {"(unknown)"}
    others: set[str] = set().union(*NOT_FOR_CHAT.values())
    assert names == ARCHITECTURES | others and not ARCHITECTURES & others
    body = source[source.index("bool llm_arch_is_recurrent"):source.index("bool llm_arch_is_hybrid")]
    assert {normal(name.lower()) for name in re.findall(r"LLM_ARCH_(\w+)", body)} == {normal(n) for n in RECURRENT}


def test_head_assertions_are_those_of_the_source(sdist: Path) -> None:
    others: set[str] = set().union(*NOT_FOR_CHAT.values())
    names = {normal(name): name for name in ARCHITECTURES | others}
    names |= {"openaimoe": "gpt-oss", "panguembed": "pangu-embedded"}
    equal, rotation = set(), set()
    for path in (sdist / "vendor/llama.cpp/src/models").glob("*.cpp"):
        source = re.sub(r"//.*", "", path.read_text())
        if re.search(r"ASSERT\((n_embd_head\s*==\s*(hparams\.)?n_rot|n_rot\s*==\s*n_embd_head)", source):
            rotation.add(names[normal(path.stem)])
        if re.search(r"ASSERT\(n_embd_head(_[kv])?\s*==\s*(hparams\.)?n_embd_head_[kv]", source):
            equal.add(names[normal(path.stem)])
    assert rotation - others == FULL_ROTATION
    assert (rotation | equal) - others == EQUAL_HEADS
