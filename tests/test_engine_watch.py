"""Layers are looked at from a moment on, and no more: what is said changes, what is drawn does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from ledlocal import Engine
from ledlocal.models import DEMO
from ledlocal.values.errors import TapRefused
from ledlocal.values.events import Event, Finished, Token
from ledlocal.values.params import Detail, EngineOptions, Message, Request, Sampling

PUZZLE = Request(messages=(Message("user", "Use 3, 7, 8, 11 and 12 to make 24."),), seed=4, max_tokens=120, n=2,
                 thinking=Sampling(temperature=1.0))


@pytest.fixture(scope="module", params=[False, True], ids=["fast", "reproducible"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with Engine(EngineOptions(str(DEMO), slots=2, threads=1, reproducible=request.param)) as opened:
        yield opened


def drawn(engine: Engine, request: Request, switches: Mapping[int, Detail]) -> list[Token]:
    """Tokens of a request, said in as much detail as `switches` has it from so many tokens of the first sample on."""
    number, tokens, left = engine.submit(request), list[Token](), request.n
    while left:
        events: list[Event] = engine.step()
        left -= sum(isinstance(event, Finished) for event in events)
        for event in events:
            if isinstance(event, Token):
                tokens.append(event)
                if event.sample == 0 and event.i + 1 in switches:
                    engine.watch(number, switches[event.i + 1])
    return sorted(tokens, key=lambda token: (token.sample, token.i))


def said(token: Token) -> tuple[Any, ...]:
    return token.id, token.text, token.explored, token.changed, token.u, token.confidence, token.entropy


@pytest.mark.parametrize("n", [1, 2])
def test_watching_changes_no_token(engine: Engine, n: int) -> None:
    request = replace(PUZZLE, n=n)
    plain = drawn(engine, request, {})
    watched = drawn(engine, request, {15: "all", 40: "forks"})
    everywhere = drawn(engine, replace(request, detail="all"), {})
    assert [*map(said, plain)] == [*map(said, watched)] == [*map(said, everywhere)]
    assert sum(token.explored for token in plain) > 3
    first = [token for token in watched if token.sample == 0 and token.phase == "thinking"]
    assert all(token.candidates for token in first[15:40]) and not any(token.depth is None for token in first[15:40])
    for token in (*first[:15], *first[40:]):
        assert (token.candidates is not None) == token.explored
    assert [token.candidates for token in first[15:40]] == [
        token.candidates for token in everywhere if token.sample == 0][15:40]


def test_what_cannot_be_watched() -> None:
    with Engine(EngineOptions(str(DEMO), context=256, threads=1, tap="none")) as blind:
        number = blind.submit(Request(prompt="1", max_tokens=3, thinking=Sampling("standard"),
                                      answer=Sampling("standard")))
        with pytest.raises(TapRefused, match="no tap runs"):
            blind.watch(number, "all")
        blind.watch(number + 1, "all")  # nobody's


def test_who_listens_to_no_token_hears_none(engine: Engine) -> None:
    assert not drawn(engine, replace(PUZZLE, detail="none"), {})
    number = engine.submit(replace(PUZZLE, detail="none", n=1))
    engine.watch(number, "all")
    heard: list[Event] = []
    while not any(isinstance(event, Finished) for event in heard):
        heard += engine.step()
    assert not any(isinstance(event, Token) for event in heard)
