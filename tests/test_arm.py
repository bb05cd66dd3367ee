"""What a run compares: methods with settings, their controls, sweeps and ablations."""

from __future__ import annotations

import pytest

from ledlocal.commands.eval import _methods
from ledlocal.evals.arm import ABLATIONS, Arm, arms
from ledlocal.values.errors import BadInput


def names(*methods: str, **more: object) -> list[str]:
    return [arm.method for arm in arms(methods, [0.6], **more)]  # type: ignore[arg-type]


def test_an_led_variant_brings_its_control_once() -> None:
    assert names("standard", "led") == ["standard", "led", "control"]
    every = ["led", "control", "led:norm=1,d=4", "led:k=16", "control:k=16"]
    assert names("led", "led:norm=1,d=4", "led:k=16") == every
    assert names("led", control=False) == ["led"]
    assert [arm.control for arm in arms(["led:k=16", "standard"], [1.0])] == ["control:k=16", "", ""]


def test_a_control_is_the_same_but_for_the_method() -> None:
    for arm in arms(["led", "led:k=5,preset=paper"], [0.3]):
        if arm.control:
            control = Arm(arm.control, 0.3)
            for mine, other in zip(arm.sampling(None), control.sampling(None), strict=True):
                assert (other.method, other.temperature, other.led.k) == ("control", 0.3, mine.led.k)


@pytest.mark.parametrize("spec", ["led:answer.temp=0.2", "led:think.temp=1.5,d=4", "led:answer.k=4",
                                  "led:think.k=4,k=8", "led:answer.method=standard,answer.top-p=0.5", "led:k=8",
                                  "led:k=9,scope=all", "led:preset=paper,k=5,answer.norm=on"])
def test_a_control_keeps_what_only_one_phase_is_told(spec: str) -> None:
    [arm, beside] = arms([spec], [0.6])
    assert beside.method == arm.control
    for mine, theirs in zip(arm.sampling(None), beside.sampling(None), strict=True):
        same = ("temperature", "top_k", "top_p", "min_p", "order")
        assert [getattr(mine, name) for name in same] == [getattr(theirs, name) for name in same]
        assert theirs.led.k == mine.led.k
        assert theirs.method == {"led": "control"}.get(mine.method, mine.method)


def test_settings_reach_both_phases() -> None:
    thinking, answer = Arm("led:norm=1,d=4,scope=all", 0.9).sampling(None)
    assert (thinking.led.norm, thinking.led.d, thinking.led.scope, thinking.temperature) == (True, 4, "all", 0.9)
    assert answer == thinking
    assert Arm("standard:order=paper,top_p=0.5", 0.9).sampling(None)[0].order == "paper"
    assert Arm("led:exploit=0", 1.0).sampling(None)[0].led.exploit is False
    assert Arm("led:norm=on,d=4,scope=all", 0.9).sampling(None) == (thinking, answer)


def test_sweeps_vary_what_a_variant_does_not_set_itself() -> None:
    found = arms(["standard", "led", "led:d=2"], [0.3, 0.6], {"d": ["4", "8"], "k": ["4", "8"]}, control=False)
    swept = [f"led:d={d},k={k}" for d in (4, 8, 2) for k in (4, 8)]
    per_temperature = ["standard", *swept]
    assert [arm.method for arm in found] == per_temperature * 2
    assert [arm.temperature for arm in found] == [0.3] * 7 + [0.6] * 7


def test_ablations_are_one_step_from_the_authors_code() -> None:
    base = Arm("led", 0.6).sampling(None)[0].led
    for name, setting in ABLATIONS.items():
        assert f"led:{setting}" in names("led", ablations=[name])
        changed = Arm(f"led:{setting}", 0.6).sampling(None)[0].led
        assert sum(getattr(changed, field) != getattr(base, field) for field in type(base).__slots__) == 1, name


@pytest.mark.parametrize(("methods", "more", "words"), [
    (["nonsense"], {}, "a method must be one of standard, led, control"),
    (["led:"], {}, "settings are NAME=VALUE"),
    (["led:d"], {}, "settings are NAME=VALUE"),
    (["led:d=x"], {}, "d takes a whole number, not 'x'"),
    (["led:d=1"], {}, "d must be a number from 2"),
    (["led:temp=1"], {}, "--sweep temp"),
    (["led:seed=3"], {}, "seed is not set here; it holds for the whole run"),
    (["led:reasoning=off"], {}, "reasoning is not set here; it holds for the whole run"),
    (["led:top_k=5"], {}, "method 'led:top_k=5' does not use top_k"),
    (["standard:d=4"], {}, "does not use d"),
    (["control:norm=1"], {}, "does not use norm"),
    (["led:colour=1"], {}, "no setting 'colour'"),
    (["led"], {"ablations": ["all"]}, "an ablation must be one of"),
    (["led"], {"sweeps": {"seed": ["1"]}}, "a sweep must be one of temp, d, k"),
])
def test_what_is_wrong_is_named(methods: list[str], more: dict[str, object], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        arms(methods, [0.6], **more)  # type: ignore[arg-type]


def test_a_comma_parts_methods_and_settings() -> None:
    assert _methods("standard,led:norm=1,d=4,control") == ["standard", "led:norm=1,d=4", "control"]
    assert _methods("led") == ["led"]
