"""Names of model files, and models that Ollama and LM Studio keep."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ledlocal.stores import lmstudio, ollama
from ledlocal.stores.location import choose, is_model, part_names, quant_of
from ledlocal.values.errors import BadInput

MODEL = "application/vnd.ollama.image.model"


@pytest.mark.parametrize(("name", "quant"), [
    ("Qwen3-4B-Q4_K_M.gguf", "Q4_K_M"), ("qwen3-4b-q4_k_m.gguf", "Q4_K_M"), ("x.IQ2_XXS.gguf", "IQ2_XXS"),
    ("a/b/Big-BF16-00001-of-00003.gguf", "BF16"), ("m-mxfp4.gguf", "MXFP4"), ("model-F16.gguf", "F16"),
    ("model.gguf", ""), ("Qwen3-4B.gguf", ""), ("Q8_0.gguf", ""), ("m-UD-Q4_K_XL.gguf", "Q4_K_XL"),
])
def test_the_quantization_is_read_from_the_name(name: str, quant: str) -> None:
    assert quant_of(name) == quant


def test_what_goes_with_a_model_is_no_model() -> None:
    assert is_model("a-Q4_0.gguf") and is_model("d/a-Q4_0-00001-of-00002.gguf") and is_model("A.GGUF")
    for name in ("mmproj-a.gguf", "a.imatrix.gguf", "a-Q4_0-00002-of-00002.gguf", "a.safetensors", "gguf"):
        assert not is_model(name)


def test_a_file_is_chosen_as_llama_cpp_does() -> None:
    names = ["mmproj-F16.gguf", "m-BF16.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"]
    assert choose(names, "") == "m-Q4_K_M.gguf"
    assert choose([*names[:2], "m-Q8_0.gguf"], "") == "m-Q8_0.gguf"
    assert choose(names[:2], "") == "m-BF16.gguf"
    assert choose(names, "q8_0") == "m-Q8_0.gguf"
    assert choose(names, "Q5_K_M") is None and choose(names[:1], "") is None and choose([], "") is None


def test_a_quant_is_a_word_of_its_own() -> None:
    names = ["m-BF16.gguf", "m-IQ4_XS.gguf", "m-F16.gguf"]
    assert choose(names, "F16") == "m-F16.gguf"
    assert choose(names, "Q4_XS") is None
    assert quant_of("sha256-" + "f3ab" * 16) == ""


def test_parts_of_a_split_model() -> None:
    assert part_names("a/m-00002-of-00003.gguf") == [f"a/m-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    assert part_names("a/m.gguf") == ["a/m.gguf"]


def keep_in_ollama(folder: Path, name: str, data: bytes) -> Path:
    """Put a model where Ollama would; `name` is host/namespace/model/tag. Its blob."""
    digest = hashlib.sha256(data).hexdigest()
    blob, manifest = folder / "blobs" / f"sha256-{digest}", folder / "manifests" / name
    for path in (blob, manifest):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(data)
    manifest.write_text(json.dumps({"layers": [
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:" + "0" * 64},
        {"mediaType": MODEL, "digest": f"sha256:{digest}"}]}))
    return blob


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    (tmp_path / "ollama").mkdir()
    return tmp_path / "ollama"


def test_ollama_models_are_read_in_place(store: Path) -> None:
    small = keep_in_ollama(store, "registry.ollama.ai/library/qwen3/latest", b"small")
    big = keep_in_ollama(store, "registry.ollama.ai/library/qwen3/4b", b"big")
    own = keep_in_ollama(store, "registry.ollama.ai/me/mine/latest", b"own")
    hub = keep_in_ollama(store, "hf.co/someone/x-GGUF/Q4_K_M", b"hub")
    found = {name: ollama.find(name).path for name in ("qwen3", "qwen3:4b", "me/mine", "hf.co/someone/x-GGUF:Q4_K_M")}
    assert found == {"qwen3": small, "qwen3:4b": big, "me/mine": own, "hf.co/someone/x-GGUF:Q4_K_M": hub}
    assert ollama.find("qwen3:4b").size == 3
    unreadable: list[str] = []
    listed = {location.name: location.path for location in ollama.models(unreadable)}
    assert listed == {"ollama:qwen3:latest": small, "ollama:qwen3:4b": big, "ollama:me/mine:latest": own,
                      "ollama:someone/x-GGUF:Q4_K_M": hub} and not unreadable
    for name, path in listed.items():
        assert ollama.find(name.removeprefix("ollama:")).path == path


def test_ollama_names_that_are_not_there(store: Path) -> None:
    with pytest.raises(BadInput, match=r"ollama:qwen3 is not here; Ollama has no models here$"):
        ollama.find("qwen3")
    keep_in_ollama(store, "registry.ollama.ai/library/qwen3/4b", b"x")
    with pytest.raises(BadInput, match=r"ollama:qwen3 is not here; there are ollama:qwen3:4b$"):
        ollama.find("qwen3")
    for name in ("", "../../etc", "a/../b", "a/b/c/d", "a:b:c", "*", "a b", "/x", ".hidden"):
        with pytest.raises(BadInput, match="is no name of a model"):
            ollama.find(name)


def naming(digest: object) -> str:
    return json.dumps({"layers": [{"mediaType": MODEL, "digest": digest}]})


@pytest.mark.parametrize(("text", "why"), [
    ("{", "no model is named in it"), ("[]", "no model is named in it"), ('{"layers": []}', "no model is named in it"),
    ('{"layers": [{}]}', "no model is named in it"), (naming(5), "no model is named in it"),
    (naming("sha256:../../x"), "is no digest"), (naming("sha256:" + "0" * 64), "pull it again with Ollama"),
])
def test_a_damaged_manifest_is_named(store: Path, text: str, why: str) -> None:
    keep_in_ollama(store, "registry.ollama.ai/library/good/latest", b"x")
    keep_in_ollama(store, "registry.ollama.ai/library/bad/latest", b"y")
    manifest = store / "manifests/registry.ollama.ai/library/bad/latest"
    manifest.write_text(text)
    with pytest.raises(BadInput, match=why) as caught:
        ollama.find("bad")
    assert str(caught.value).startswith(f"{manifest}: ")
    unreadable: list[str] = []
    assert [location.name for location in ollama.models(unreadable)] == ["ollama:good:latest"]
    assert unreadable == [str(caught.value)]


def test_lm_studio_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    with pytest.raises(BadInput, match="LM Studio has no models here"):
        lmstudio.find("a/b")
    moved = tmp_path / "elsewhere"
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{moved}\n")
    for folder, name in ((moved, "m-Q8_0"), (moved, "m-Q4_K_M"), (tmp_path / ".lmstudio", "m-F16")):
        (folder / "models" / "pub" / name[:1]).mkdir(parents=True, exist_ok=True)
        (folder / "models" / "pub" / name[:1] / f"{name}.gguf").write_bytes(b"x")
    (moved / "models" / "pub" / "m" / "mmproj-F16.gguf").write_bytes(b"x")
    assert lmstudio.find("pub/m").path == moved / "models/pub/m/m-Q4_K_M.gguf"
    assert lmstudio.find("pub/m:q8_0").path == moved / "models/pub/m/m-Q8_0.gguf"
    listed = {location.name: location.path for location in lmstudio.models()}
    assert listed.keys() == {f"lmstudio:pub/m:{quant}" for quant in ("Q8_0", "Q4_K_M", "F16")}
    for name, path in listed.items():
        assert lmstudio.find(name.removeprefix("lmstudio:")).path == path
    with pytest.raises(BadInput, match="lmstudio:pub/m:Q2_K is not here; m has F16, Q4_K_M, Q8_0"):
        lmstudio.find("pub/m:Q2_K")
    with pytest.raises(BadInput, match="is no name of a model"):
        lmstudio.find("../m")
