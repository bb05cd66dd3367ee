"""Flags and /set: precedence, phases, errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_engine import LOADED

from ledlocal.settings import NAMES, Settings, describe
from ledlocal.values.errors import BadInput
from ledlocal.values.params import PRESETS, Led, Sampling


def test_defaults_then_file_then_user() -> None:
    loaded = replace(LOADED, model=replace(LOADED.model, sampling={"temperature": 0.9, "top_k": 40.0}))
    assert Settings().sampling("thinking", LOADED) == Sampling()
    got = Settings().with_value("temp", "0.3").sampling("answer", loaded)
    assert (got.temperature, got.top_k, got.top_p) == (0.3, 40, 0.95)
    assert isinstance(got.top_k, int)
    assert Settings().with_value("temp", "0.3").sampling("answer", LOADED).top_k == 20


def test_phases() -> None:
    settings = Settings().with_value("temp", "0.5").with_value("think.temp", "1").with_value("answer.top-p", "0.5")
    settings = settings.with_value("answer.method", "standard").with_value("answer.k", "3")
    thinking, answer = (settings.sampling(phase, LOADED) for phase in ("thinking", "answer"))
    assert (thinking.temperature, thinking.top_p, thinking.method, thinking.led.k) == (1, 0.95, "led", 8)
    assert (answer.temperature, answer.top_p, answer.method, answer.led.k) == (0.5, 0.5, "standard", 3)
    assert settings.with_value("temp", "0.2").sampling("thinking", LOADED).temperature == 0.2


def test_preset_takes_back_its_fields_only() -> None:
    settings = Settings().with_value("norm", "off").with_value("layers", "reference").with_value("k", "4")
    assert settings.with_value("norm", "1") == settings.with_value("norm", "on") != settings
    led = settings.with_value("preset", "paper").sampling("thinking", LOADED).led
    assert led == replace(PRESETS["paper"], k=4)
    led = settings.with_value("preset", "paper").with_value("norm", "off").sampling("thinking", LOADED).led
    assert led == Led(k=4, layers="paper", norm=False)


def test_without_a_tap_only_a_named_method_is_led() -> None:
    bare = replace(LOADED, tap="none")
    assert Settings().sampling("thinking", bare).method == "standard"
    assert Settings().with_value("method", "led").sampling("thinking", bare).method == "led"


def test_request() -> None:
    settings = Settings(seed=5).with_value("n", "9").with_value("budget", "4").with_value("reasoning", "off")
    request = settings.request(LOADED, (), turn=2, attempt=1)
    assert (request.seed, request.max_tokens, request.reasoning_budget, request.reasoning) == (5, 9, 4, "off")
    assert (request.problem, request.first_sample) == ("2", 1)
    unlimited = settings.with_value("max_tokens", "-1").with_value("budget", "-1").request(LOADED, ())
    assert (unlimited.max_tokens, unlimited.reasoning_budget, unlimited.problem) == (None, None, "")


def test_seed() -> None:
    assert Settings().with_value("seed", "0").seed == 0
    assert len({Settings().with_value("seed", "-1").seed for _ in range(5)} | {Settings().seed}) > 1


def test_depth_asked_for() -> None:
    assert Settings().with_value("d", "3").deepest() == 8
    assert Settings().with_value("think.d", "12").deepest() == 12


@pytest.mark.parametrize(("name", "text", "said"), [
    ("tmep", "1", "no setting 'tmep'"), ("think.seed", "1", "no setting"), ("x.temp", "1", "no setting"),
    ("temp", "hot", "temp takes a number, not 'hot'"), ("top_k", "1.5", "top_k takes a whole number"),
    ("temp", "-1", "temperature must be"), ("temp", "nan", "temperature must be"), ("top_p", "2", "top_p must be"),
    ("method", "best", "method must be one of"), ("preset", "x", "preset must be one of"), ("norm", "yes", "must be"),
    ("d", "1", "d must be"), ("layers", "all", "layers must be"), ("seed", "-2", "seed takes a number from 0, or -1"),
    ("max_tokens", "0", "max_tokens must be"), ("reasoning", "maybe", "reasoning must be"),
    ("order", "x", "order must be"),
])
def test_errors_name_the_setting(name: str, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Settings().with_value(name, text).request(None)


def test_every_name_can_be_set() -> None:
    values = {"method": "control", "order": "paper", "preset": "paper", "layers": "paper", "norm": "on",
              "scope": "all", "exploit": "off", "reasoning": "on", "top_p": "1", "min_p": "0.5"}
    before = Settings(seed=1)
    for name in NAMES:
        after = before.with_value(name, values.get(name, "3"))
        assert after.request(LOADED) != before.request(LOADED), name


def test_describe_says_what_decides() -> None:
    led = describe(Sampling(), "thinking")
    assert led == "led · temp 0.6 · k 8 · d 8 · layers reference · norm off"
    assert describe(Sampling(), "answer") == "led · temp 0.6 · k 8 · explores nothing"
    assert "d 8" in describe(Sampling(led=Led(scope="all")), "answer")
    assert describe(Sampling(method="standard", top_k=5), "answer").startswith("standard · temp 0.6 · top-k 5 · top-p")


def test_values_that_nothing_looks_at_are_named() -> None:
    def said(*values: tuple[str, str]) -> list[str]:
        settings = Settings(seed=1)
        for name, text in values:
            settings = settings.with_value(name, text)
        return settings.notices(LOADED)

    assert said(("temp", "1"), ("d", "11")) == []
    assert said(("d", "12")) == ["d 12 is more than this model has layers for: it is 11"]
    assert Settings(seed=1).with_value("d", "12").sampling("thinking", LOADED).led.d == 11
    assert said(("d", "12"), ("preset", "paper")) == []
    assert said(("top_k", "5"), ("min_p", "0")) == ["without effect: method led does not use top_k, min_p"]
    assert said(("top_k", "5"), ("answer.method", "standard")) == []
    assert said(("think.top_k", "5"), ("answer.method", "standard")) == [
        "without effect: method led and standard does not use top_k"]
    assert said(("method", "standard"), ("k", "4"), ("preset", "paper")) == [
        "without effect: method standard does not use preset, k"]
    assert said(("method", "control"), ("k", "4"), ("d", "4")) == ["without effect: method control does not use d"]


def test_a_run_without_a_tap_says_that_it_does_not_explore() -> None:
    loaded = replace(LOADED, tap="none")
    assert Settings(seed=1).notices(loaded) == [
        "no tap runs, so no layer is read: method standard in place of led"]
    assert Settings(seed=1).with_value("method", "standard").notices(loaded) == []
