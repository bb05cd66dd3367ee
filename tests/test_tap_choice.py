"""Which tap is chosen, what is refused and why, and that a wrong tap or another library is noticed."""

from __future__ import annotations

import ctypes
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tap_steps import NATIVE, loaded
from tiny_models import TinyModels
from tiny_recipes import RECIPES, UNTAPPABLE

from ledlocal.methods.final import FinalLayer
from ledlocal.runtime import ggml
from ledlocal.runtime.install import OVERRIDE, native_folder
from ledlocal.runtime.library import C, is_native
from ledlocal.runtime.llama import Context, Model, Row, context_params
from ledlocal.runtime.taps.choice import open_tap
from ledlocal.runtime.taps.head import Head
from ledlocal.runtime.taps.native import NativeTap
from ledlocal.runtime.taps.none import NoTap
from ledlocal.runtime.taps.plugin import PluginTap
from ledlocal.runtime.taps.protocol import Tap
from ledlocal.values.errors import TapRefused

OPENED_BY = {"init": "free", "alloc_tensors": "buffer_free", "device_init": "backend_free",
             "gallocr_new": "gallocr_free"}
TAPPABLE = [architecture for architecture in RECIPES if architecture not in UNTAPPABLE]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    return TinyModels(tmp_path_factory.mktemp("tiny"))


def choose(name: Any, model: Model) -> tuple[Context, Tap, str]:
    return open_tap(name, model, context_params(64, 2, 64, 1, False), tuple(range(1, model.n_layer)))


@pytest.mark.parametrize("architecture", TAPPABLE)
def test_auto_takes_the_fastest(models: TinyModels, architecture: str) -> None:
    with loaded(models(architecture)) as model:
        context, tap, why = choose("auto", model)
        assert (tap.name, why) == ("native" if is_native() else "plugin", "")
        assert context.last_position(0) == -1, "the self-test left tokens behind"
        tap.detach()
        context.close()


def test_named_taps(models: TinyModels) -> None:
    with loaded(models("qwen3")) as model:
        for name in ("plugin", "reference", "none", *(["native"] if NATIVE else [])):
            context, tap, why = choose(name, model)
            assert (tap.name, why) == (name, "")
            tap.detach()
            context.close()


@pytest.mark.parametrize(("built", "override", "why"), [
    (False, "stock", "not built; `ledlocal build` makes it"), (True, "stock", "LEDLOCAL_LIBRARY=stock asks for"),
    (True, "", "built for another llama-cpp-python")])
def test_why_there_is_no_native_tap(built: bool, override: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledlocal.runtime.taps.native.is_native", lambda: False)
    monkeypatch.setenv(OVERRIDE, override)
    if built:
        native_folder().mkdir(parents=True)
        (native_folder() / "libllama.so").touch()
    with pytest.raises(TapRefused, match=why):
        NativeTap()


@pytest.mark.parametrize("architecture", UNTAPPABLE)
def test_untappable_models_decode_plainly(models: TinyModels, architecture: str) -> None:
    """Every tap refuses, the fast ones for the same reason."""
    with loaded(models(architecture)) as model:
        with pytest.raises(TapRefused, match=f"does not know the output head of architecture '{architecture}'"):
            choose("reference", model)
        causes = set()
        for name in ("plugin", *(["native"] if NATIVE else [])):
            with pytest.raises(TapRefused) as refusal:
                choose(name, model)
            named, _, cause = str(refusal.value).partition(f": tap {name} cannot read its layers: ")
            assert named == str(model.path) and cause
            causes.add(cause)
        [cause] = causes
        context, tap, why = choose("auto", model)
        assert isinstance(tap, NoTap)
        assert why == f"the layers of {model.path.name} cannot be read: {cause}; plain sampling only"
        tap.prepare(np.ones(1))
        context.decode([Row(7, 0, 0, True)])
        final = tap.topk()
        assert final.ids[0, 0] == context.logits(0).argmax()
        with pytest.raises(TapRefused, match="no intermediate layers"):
            tap.project(np.array([0]), final.ids[:, :8], [1], False, np.ones(1))
        context.close()


def opened(patched: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what is opened and not closed from now on, by who opens it."""
    alive: Counter[str] = Counter()

    def count(module: Any, name: str, opener: str, step: int) -> None:
        function = getattr(module, name)

        def counted(*arguments: Any) -> Any:
            found = function(*arguments)
            alive[opener] += step if step < 0 or found else 0
            return found

        patched.setattr(module, name, counted)

    for opens, closes in OPENED_BY.items():
        count(ggml, opens, opens, 1)
        count(ggml, closes, opens, -1)
    count(C, "llama_init_from_model", "llama_init_from_model", 1)
    count(C, "llama_free", "llama_init_from_model", -1)
    return alive


def fails_after(patched: pytest.MonkeyPatch, successes: int) -> None:
    """The memory of that many temperatures can be had, and no more."""
    honest, left = ggml.alloc_tensors, iter(range(successes))
    patched.setattr(ggml, "alloc_tensors", lambda *where: honest(*where) if next(left, None) is not None else None)


@pytest.mark.parametrize("successes", [0, 1], ids=["attaching", "projecting"])
def test_a_tap_without_memory_leaves_nothing_open(models: TinyModels, successes: int) -> None:
    with loaded(models("qwen3")) as model, pytest.MonkeyPatch.context() as patched:
        alive = opened(patched)
        fails_after(patched, successes)
        with pytest.raises(TapRefused, match="no memory for the temperatures of"):
            choose("plugin", model)
        assert not +alive, alive


def wrong_project(tap: PluginTap, *arguments: Any, honest: Any = PluginTap.project) -> Any:
    return honest(tap, *arguments)[..., ::-1]


def wrong_logits(tap: PluginTap, honest: Any = PluginTap.topk) -> FinalLayer:
    final: FinalLayer = honest(tap)
    return replace(final, logits=final.logits + np.float32(0.05))


def wrong_ids(tap: PluginTap, honest: Any = PluginTap.topk) -> FinalLayer:
    final: FinalLayer = honest(tap)
    return replace(final, ids=np.roll(final.ids, 1, axis=1))


def missing_best(tap: PluginTap, honest: Any = PluginTap.topk) -> FinalLayer:
    final: FinalLayer = honest(tap)
    return replace(final, ids=final.ids[:, 1:], logits=final.logits[:, 1:])


@pytest.mark.parametrize("method, wrong, why", [
    ("project", wrong_project, "the cloned head is off by"), ("topk", wrong_logits, "logits differ by"),
    ("device", None, "lie on different devices"),
    ("topk", wrong_ids, "logits differ by"), ("topk", missing_best, "logits differ by")])
def test_a_wrong_tap_is_noticed(models: TinyModels, monkeypatch: pytest.MonkeyPatch, method: str, wrong: Any,
                                why: str) -> None:
    if method == "device":
        monkeypatch.setattr(ggml, "device_supports", lambda _device, _buffer_type: False)
    else:
        monkeypatch.setattr(PluginTap, method, wrong)
    with loaded(models("qwen3")) as model:
        with pytest.raises(TapRefused, match=why):
            choose("plugin", model)
        monkeypatch.setattr("ledlocal.runtime.taps.choice.is_native", lambda: False)  # auto is the plugin, too
        context, tap, sentence = choose("auto", model)
        assert tap.name == "none"
        assert why in sentence
        context.close()


def test_a_head_that_reads_more_than_the_last_layer_is_refused() -> None:
    context = ggml.init(65536)
    graph = ggml.new_graph(context, 16, False)
    hidden, weights, other = (ggml.new_tensor_2d(context, ggml.F32, 4, n) for n in (1, 6, 1))
    twice = ggml.mul(context, other, other)
    fed = ggml.new_tensor_2d(context, ggml.F32, 4, 1)
    ggml.set_input(fed)
    for more, sound in ((ggml.reshape_2d(context, other, 4, 1), True), (other, True), (twice, False), (fed, False)):
        head = Head(ggml.mul_mat(context, weights, ggml.mul(context, hidden, more)), hidden)
        rows = ggml.new_tensor_2d(context, ggml.F32, 4, 3)
        if sound:
            assert list(ggml.tensor(head.clone(context, graph, rows, 3)).ne) == [6, 3, 1, 1]
        else:
            with pytest.raises(TapRefused, match="uses more than the last layer and weights"):
                head.clone(context, graph, rows, 3)
    ggml.free(context)


def test_a_head_is_read_before_the_scheduler_moves_its_inputs() -> None:
    """On a GPU, outputs that are selected behind the norm would be selected once more, by whatever is left there."""
    context = ggml.init(65536)
    graph = ggml.new_graph(context, 16, False)
    hidden, weights = (ggml.new_tensor_2d(context, ggml.F32, 4, n) for n in (5, 6))
    out_ids, moved = (ggml.new_tensor_1d(context, ggml.I32, 2) for _ in range(2))
    for one in (out_ids, moved):
        ggml.set_input(one)
    selection = ggml.get_rows(context, hidden, out_ids)
    head = Head(ggml.mul_mat(context, weights, selection), hidden, out_ids)
    ggml.tensor(selection).src[1] = moved
    rows = ggml.new_tensor_2d(context, ggml.F32, 4, 3)
    copy = ggml.tensor(head.clone(context, graph, rows, 3))
    assert (copy.src[0], copy.src[1], list(copy.ne)) == (weights, rows, [6, 3, 1, 1])
    ggml.free(context)


class Shifted(ctypes.Structure):
    """ggml_tensor as a release with one more number at the front would have it."""

    _fields_ = (("type", ctypes.c_int), ("more", ctypes.c_int64), *ggml.Tensor._fields_[1:])


@pytest.mark.parametrize("name, value, why", [
    ("PINNED", "0.0.1", r"mirrors llama-cpp-python 0\.0\.1"), ("Tensor", Shifted, "laid out differently")])
def test_another_library_is_refused(models: TinyModels, monkeypatch: pytest.MonkeyPatch, name: str, value: Any,
                                    why: str) -> None:
    monkeypatch.setattr(ggml, name, value)
    with loaded(models("qwen3")) as model, pytest.raises(TapRefused, match=why):
        choose("plugin", model)
