"""What doctor finds, on this machine and on invented ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType
from tiny_models import tiny_model

from ledlocal import doctor
from ledlocal.models import DEMO
from ledlocal.runtime.build import Build, Device
from ledlocal.runtime.install import OVERRIDE, native_folder
from ledlocal.values.errors import BadInput, EngineDied

CPU_ONLY = Build("0.3.36", "CPU : AVX2 = 1 | AMX_INT8 = 0 | ", "libllama.so", False, False,
                 (Device("CPU", "a CPU", False, 1),))


def test_the_real_command() -> None:
    done = subprocess.run([sys.executable, "-P", "-m", "ledlocal", "doctor", "--deep", "--json"], capture_output=True,
                          text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = {record["name"]: record for record in map(json.loads, done.stdout.splitlines())}
    assert list(found) == ["engine", "library", "gpu", "tap", "deep", "models", "cache", "kept", "config", "terminal"]
    assert "0.3.36" in found["engine"]["text"]
    tap = "native" if "patched" in found["library"]["text"] else "plugin"
    assert found["tap"]["text"] == f"{tap} reads the layers of {DEMO.name}; its self-test passed"
    assert f"{tap} and reference on 12 prompts: 768 probabilities differ by at most" in found["deep"]["text"]


@pytest.mark.parametrize("head", [GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_K])
def test_a_sound_quantized_model_passes(head: GGMLQuantizationType, tmp_path: Path) -> None:
    path = tiny_model(tmp_path / "m.gguf", "qwen3", n_embd=256, head_type=head)
    [deep] = [finding for finding in doctor._tap(path, True) if finding.name == "deep"]
    assert deep.state == "ok", deep


def test_a_model_whose_layers_cannot_be_read_is_told_with_the_cause(tmp_path: Path) -> None:
    [tap] = doctor._tap(tiny_model(tmp_path / "m.gguf", "gemma3n"), True)
    assert tap.state == "wrong" and "it keeps several residual streams per layer" in tap.text, tap


def test_a_head_that_the_reference_does_not_know_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_model: Path, tap: str) -> list[dict[tuple[int, int], float]]:
        raise BadInput(f"{tap}: no reference for this output head")

    monkeypatch.setattr(doctor, "_posteriors", refuse)
    tap, deep = doctor._tap(DEMO, True)
    assert (tap.state, deep.state) == ("ok", "note")
    assert deep.text == "no second opinion: auto: no reference for this output head"


def test_a_broken_configuration_does_not_stop_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[chat]\ntemp = "hot"\n')
    done = subprocess.run([sys.executable, "-P", "-m", "ledlocal", "doctor", "--json"], capture_output=True, text=True,
                          check=False, env={**os.environ, "LEDLOCAL_CONFIG": str(path)})
    wrong = [record["name"] for record in map(json.loads, done.stdout.splitlines()) if record["state"] == "wrong"]
    assert (done.returncode, wrong) == (1, ["config"])


def find(name: str, build: Build, monkeypatch: pytest.MonkeyPatch, folder: Path) -> doctor.Finding:
    monkeypatch.setattr(doctor, "survey", lambda: build)
    monkeypatch.setattr(doctor, "_tap", lambda *_: iter(()))
    found = {f.name: f for f in doctor.examine(DEMO, False, lambda _: None, folder / "proc", folder / "sys")}
    return found[name]


@pytest.mark.parametrize(("vendor", "name", "option"), [
    ("0x10de", "NVIDIA", "-DGGML_CUDA=on"), ("0x1002", "AMD", "-DGGML_VULKAN=on"), ("0x8086", "Intel", "VULKAN")])
def test_a_gpu_that_is_not_used_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vendor: str,
                                                          name: str, option: str) -> None:
    card = tmp_path / "sys" / "class" / "drm" / "card0" / "device"
    card.mkdir(parents=True)
    (card / "vendor").write_text(vendor + "\n")
    found = find("gpu", CPU_ONLY, monkeypatch, tmp_path)
    assert found.state == "note" and name in found.text
    assert option in found.mend and "llama-cpp-python==0.3.36" in found.mend
    used = replace(CPU_ONLY, devices=(Device("CUDA0", "an H100", True, 80 << 30),))
    assert find("gpu", used, monkeypatch, tmp_path) == doctor.Finding("gpu", "ok", "an H100 (80 GiB)")


def test_no_gpu_and_crashing_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find("gpu", CPU_ONLY, monkeypatch, tmp_path).state == "ok"
    assert find("engine", CPU_ONLY, monkeypatch, tmp_path) == doctor.Finding(
        "engine", "ok", "llama-cpp-python 0.3.36 · CPU AVX2")
    crashing = find("engine", replace(CPU_ONLY, amx_crashes=True), monkeypatch, tmp_path)
    assert crashing.state == "note" and "GCC 12.4" in crashing.mend


def test_an_engine_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Build:
        raise EngineDied("llama.cpp does not load: no libgomp")

    monkeypatch.setattr(doctor, "survey", fail)
    for folder, mend in (("stock", "pip install --force-reinstall"), (str(native_folder()), "ledlocal build"),
                         ("/elsewhere", "LEDLOCAL_LIBRARY=stock")):
        monkeypatch.setenv(OVERRIDE, folder)
        found, = doctor.examine(DEMO, True, lambda _: None)
        assert (found.name, found.state) == ("engine", "wrong") and found.mend.startswith(mend)


def test_a_model_without_layers_to_read_is_wrong(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    found, = doctor._tap(broken, True)
    assert found.state == "wrong" and "broken.gguf" in found.text


def test_the_configuration_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("[nonsense]")
    monkeypatch.setenv("LEDLOCAL_CONFIG", str(path))
    assert find("config", CPU_ONLY, monkeypatch, tmp_path).state == "wrong"


def test_terminals() -> None:
    assert "no TERM" in doctor._terminal({}).text
    assert "xterm" in doctor._terminal({"TERM": "xterm", "NO_COLOR": "1"}).text
    assert "NO_COLOR" in doctor._terminal({"TERM": "xterm", "NO_COLOR": "1"}).text
