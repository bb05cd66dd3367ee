"""Slots that were dummies, and two readers of one engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ledlocal import Engine
from ledlocal.runtime.taps.plugin import PluginTap
from ledlocal.values.events import Event, Finished, Prefilled, Started
from ledlocal.values.params import EngineOptions, Led, Request, Sampling

DEMO = str(Path(__file__).parents[1] / "ledlocal" / "demo" / "countdown-rl-f16.gguf")
GREEDY = Sampling("control", temperature=0)
PROMPT = tuple(range(40, 60))


def ask(length: int, **options: object) -> Request:
    return Request(prompt_ids=(*PROMPT, length), thinking=GREEDY, answer=GREEDY, max_tokens=length, ignore_eos=True,
                   **options)  # type: ignore[arg-type]


def finished(engine: Engine) -> dict[int, tuple[int, ...]]:
    ends: dict[int, tuple[int, ...]] = {}
    while engine.busy:
        ends |= {event.request: event.ids for event in engine.step() if isinstance(event, Finished)}
    return ends


def test_a_slot_that_was_a_hole_takes_a_new_request() -> None:
    with Engine(EngineOptions(DEMO, context=128, slots=3, threads=1)) as engine:
        for length in (40, 4, 40):
            engine.submit(ask(length))
        for _ in range(20):
            engine.step()
        late = engine.submit(ask(7))
        together = finished(engine)[late]
        engine.submit(ask(7))
        alone = next(iter(finished(engine).values()))
    assert together == alone and len(alone) == 7


def test_each_reader_gets_its_own_events_and_closing_one_leaves_the_other() -> None:
    with Engine(EngineOptions(DEMO, context=128, slots=2, threads=1)) as engine:
        first, second = engine.generate(ask(12)), engine.generate(ask(9))
        seen: list[Event] = [next(first), next(second), next(first)]
        first.close()
        rest = list(second)
    assert [event.request for event in seen] == [1, 2, 1]  # type: ignore[union-attr]
    assert {event.request for event in rest} == {2}  # type: ignore[union-attr]
    assert isinstance(rest[-1], Finished) and len(rest[-1].ids) == 9


def test_a_long_prompt_says_how_much_of_it_was_read() -> None:
    """In chunks of 8: the second prompt begins behind what is in memory, the third is there already."""
    with Engine(EngineOptions(DEMO, context=128, batch=8, threads=1)) as engine:
        for number, (length, read) in enumerate(((20, [8, 16]), (45, [28, 36]), (17, [])), 1):
            request = Request(prompt_ids=tuple(range(40, 40 + length)), thinking=GREEDY, answer=GREEDY, max_tokens=1)
            events = list(engine.generate(request))
            assert events[:len(read)] == [Prefilled(number, 0, cached, length) for cached in read]
            assert isinstance(events[len(read)], Started)


def test_a_layer_that_is_not_finite_ends_its_own_sample_only(monkeypatch: pytest.MonkeyPatch) -> None:
    project = PluginTap.project

    def broken(self: PluginTap, *arguments: object) -> np.ndarray:
        posteriors = project(self, *arguments)  # type: ignore[arg-type]
        posteriors[0] = np.nan
        return posteriors

    monkeypatch.setattr(PluginTap, "project", broken)
    exploring = Sampling("led", led=Led(scope="all", exploit=False))
    request = Request(prompt_ids=PROMPT, thinking=exploring, answer=exploring, max_tokens=5, ignore_eos=True)
    with pytest.raises(Exception, match="cloned head"):
        Engine(EngineOptions(DEMO, context=128, tap="plugin", threads=1))
    monkeypatch.undo()
    with Engine(EngineOptions(DEMO, context=128, slots=2, threads=1, tap="plugin")) as engine:
        monkeypatch.setattr(PluginTap, "project", broken)
        engine.submit(request)
        other = engine.submit(ask(6))
        ends = {}
        while engine.busy:
            ends |= {event.request: event for event in engine.step() if isinstance(event, Finished)}
    assert ends[1].finish == "invalid" and "not finite" in ends[1].reason
    assert len(ends[other].ids) == 6
