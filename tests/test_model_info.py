"""`models info`: what a header tells, against the engine that loads the model."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import pytest
from bad_ggufs import good
from click.testing import CliRunner
from tiny_models import tiny_model

from ledlocal.commands.models import models as command
from ledlocal.engine.engine import Engine
from ledlocal.model_info import ModelInfo, lines, model_info
from ledlocal.models import DEMO, resolve
from ledlocal.values.errors import BadInput
from ledlocal.values.params import EngineOptions


def told(path: Path) -> ModelInfo:
    return model_info(resolve(str(path)))


@pytest.mark.parametrize("architecture", ["qwen3", "gemma2", "llama"])
def test_it_agrees_with_the_engine_that_loads_the_model(architecture: str, tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "m.gguf", architecture, tied=architecture == "llama")
    info = told(path)
    with Engine(EngineOptions(str(path))) as engine:
        model = engine.loaded.model
    thinking = info.thinking
    assert thinking is not None
    assert (info.name, info.architecture, info.layers, info.vocabulary, info.trained_context, info.chat_template) == (
        model.name, model.architecture, model.layers, model.vocabulary, model.trained_context, model.chat_template)
    assert (thinking.start, thinking.ends[0], thinking.found) == (
        model.think_start, model.think_end, model.think_found)
    assert thinking.opened_by == "template"
    assert info.tied_head == (architecture != "qwen3")
    assert info.size == path.stat().st_size and not info.refused


def test_the_demo_model_in_words() -> None:
    info = told(DEMO)
    assert (info.layers, info.width, info.vocabulary, info.trained_context) == (12, 96, 882, 1024)
    assert info.memory["host"].cache == 1024 * 1536  # 12 layers of 2 * 32 halves
    assert info.led_layers == {"reference": (10, 9, 8, 7, 6, 5, 4), "paper": (11, 10, 9, 8, 7, 6, 5)}
    shown = "\n".join(lines(info))
    assert "12 of width 96 · 882 tokens · output head of its own" in shown
    assert "preset reference: reads layers 10 … 4, and the final 12" in shown
    assert "fits      all of 1024 trained tokens of context" in shown
    assert " weights + 1.5 MiB KV cache + " in shown


def test_a_model_that_is_refused_says_why(tmp_path: Path) -> None:
    data = DEMO.read_bytes()
    path = tmp_path / "m.gguf"
    path.write_bytes(data.replace(b"tokenizer.ggml.tokens", b"tokenizer.ggml.tokenz"))
    info = told(path)
    assert info.refused and info.vocabulary == 0
    assert f"refused   {info.refused}" in lines(info)
    path.write_bytes(data[:1000])
    with pytest.raises(BadInput, match=str(path)):
        told(path)


def test_json_is_one_object() -> None:
    done = CliRunner().invoke(command, ["info", "demo", "--json"])
    assert done.exit_code == 0
    told_there = json.loads(done.stdout)
    assert told_there["sha256"] == hashlib.sha256(DEMO.read_bytes()).hexdigest()
    assert told_there["led_layers"]["reference"] == [10, 9, 8, 7, 6, 5, 4]


@pytest.mark.parametrize(("kind", "value", "found", "said"), [
    ("f32", 0.25, {"temperature": 0.25}, ""), ("f32", math.nan, {}, "general.sampling.temp is nan; it is left out"),
    ("f32", math.inf, {}, "is inf; it is left out"), ("f32", -1.0, {}, "is -1.0; it is left out"),
    ("i32", -1, {"top_k": 0}, ""), ("i32", 7, {"top_k": 7}, "")])
def test_the_files_own_sampling(kind: str, value: float, found: dict[str, float], said: str, tmp_path: Path) -> None:
    gguf = good()
    gguf.metadata[f"general.sampling.{'temp' if kind == 'f32' else 'top_k'}"] = kind, value
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf.build())
    with Engine(EngineOptions(str(path), context=64)) as engine:
        assert engine.loaded.model.sampling == found
        assert said in " ".join(engine.loaded.notices)
