"""The loop of measurements, in a process of its own: rounds, in which everybody runs once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from ledlocal.bench.bare import Bare
from ledlocal.bench.contender import BACKEND, Contender
from ledlocal.bench.memory import Taken
from ledlocal.bench.plan import Plan, Run
from ledlocal.bench.prompts import Prompts
from ledlocal.bench.through_engine import ThroughEngine
from ledlocal.engine.engine import Engine
from ledlocal.runtime import amx
from ledlocal.runtime.cores import physical_cores
from ledlocal.runtime.llama import Model
from ledlocal.runtime.plan import params_of, plan_load
from ledlocal.values.errors import BadInput, OutOfResources, TapRefused
from ledlocal.values.params import EngineOptions, TapName

LIMIT_S = 20.0
"""After so long the phase `decode` of one run ends, however many tokens it has."""
WARM = 2
"""Steps before the clock starts: the graph is built in the first, and used again from the second on."""
_LOOK = 256
"""Tokens of context of an engine that only reads the vocabulary."""

Tell = Callable[[dict[str, Any]], None]


class Generator(Protocol):
    """What chooses tokens."""

    explored: int
    """Once its steps are closed."""
    chosen: int

    def steps(self, prompt: tuple[int, ...]) -> Iterator[None]:
        """Endless: each is one more token of every sequence."""

    def close(self) -> None:
        """Free it."""


class Measurement:
    """Tells what it has seen as dictionaries that JSON can hold: `loaded`, `opened`, `run`, `memory`, `skipped`."""

    def __init__(self, plan: Plan, tell: Tell) -> None:
        self._plan, self._tell = plan, tell
        self._skipped: set[tuple[TapName, int]] = set()
        self._prompts: Prompts | None = None
        self._taken = Taken()

    def run(self) -> None:
        """Everything is loaded anew in every round: where buffers happen to lie in memory costs up to 5 %."""
        plan = self._plan
        if not plan.ids:
            self._look()
        for number in range(plan.rounds):
            for tap in plan.taps:
                for batch in plan.batches:
                    if (tap, batch) not in self._skipped:
                        self._cell(tap, batch, number)

    def _look(self) -> None:
        with closing(Engine(replace(self._plan.options, slots=1, context=_LOOK, tap="none"))) as engine:
            self._prompts = Prompts(engine, self._plan.question, 2 * len(self._plan.contenders) + 1)
            self._tell({"event": "loaded", "loaded": asdict(engine.loaded), "threads": self._threads(),
                        "depth": max(self._plan.depth, self._prompts.shortest)})

    def _threads(self) -> int:
        return self._plan.options.threads or physical_cores()

    def _prompt(self, number: int, length: int) -> tuple[int, ...]:
        return self._prompts.make(number, length) if self._prompts else self._plan.ids

    def _cell(self, tap: TapName, batch: int, number: int) -> None:
        """All contenders at one batch size with one tap, in another order in each round."""
        order = list(enumerate(self._plan.contenders))
        random.Random(number).shuffle(order)
        ours = [one for one in order if one[1].ours]
        theirs = [one for one in order if not one[1].ours]
        longest = max(self._plan.depth, self._prompts.shortest if self._prompts else len(self._plan.ids))
        context = max(16, max(self._plan.prompt, longest) + self._plan.tokens + WARM + 2)
        options = replace(self._plan.options, slots=batch, context=context, tap=tap)
        groups = [(self._with_engine, ours), (self._with_llama_cpp, theirs)]
        for group, members in groups if number % 2 else reversed(groups):
            try:
                group(options, members, number)
            except (OutOfResources, TapRefused) as error:
                self._skipped.add((tap, batch))
                self._tell({"event": "skipped", "tap": tap, "batch": batch, "why": str(error)})
                return

    def _with_engine(self, options: EngineOptions, members: list[tuple[int, Contender]], number: int) -> None:
        if members:
            with closing(Engine(options)) as engine:
                self._tell({"event": "opened", "asked": options.tap, "tap": engine.loaded.tap, "batch": options.slots,
                            "memory": engine.loaded.memory, "notices": engine.loaded.notices})
                self._warm(ThroughEngine(engine, members[0][1]))
                for at, contender in members:
                    self._measure(ThroughEngine(engine, contender), at, contender, options, number)

    def _with_llama_cpp(self, options: EngineOptions, members: list[tuple[int, Contender]], number: int) -> None:
        if not members:
            return
        assert options.context is not None
        repack = amx.usable()
        layers = plan_load(options, options.context, repack).gpu_layers
        with closing(Model(Path(options.model), layers, repack)) as model:
            for at, contender in members:
                try:
                    bare = Bare(model, params_of(options, options.context, self._threads()), contender.name == BACKEND)
                except BadInput as error:
                    self._tell({"event": "refused", "contender": contender.name, "why": str(error)})
                    continue
                with closing(bare):
                    self._warm(bare)
                    self._measure(bare, at, contender, options, number)

    def _warm(self, generator: Generator) -> None:
        """What is loaded is touched for the first time."""
        first_tokens(generator, self._prompt(2 * len(self._plan.contenders), self._plan.prompt))

    def _measure(self, generator: Generator, at: int, contender: Contender, options: EngineOptions,
                 number: int) -> None:
        plan, batch = self._plan, options.slots
        run = Run(options.tap, batch, number, contender.name, "decode", 0, 0.0, 0, 0)
        if plan.prompt and contender.share is None:
            prompt = self._prompt(2 * at, plan.prompt)
            self._tell_run(replace(run, phase="prefill", tokens=len(prompt), seconds=first_tokens(
                generator, prompt)))
        self._tell_run(decoding(generator, self._prompt(2 * at + 1, plan.depth), run, plan.tokens))
        self._tell({"event": "memory", "ours": contender.ours, "bytes": self._taken.bytes()})

    def _tell_run(self, run: Run) -> None:
        self._tell({"event": "run", "run": asdict(run)})


def first_tokens(generator: Generator, prompt: tuple[int, ...]) -> float:
    """Seconds until every sequence has its first token."""
    begin = time.perf_counter()
    stream = generator.steps(prompt)
    next(stream)
    seconds = time.perf_counter() - begin
    stream.close()  # type: ignore[attr-defined]
    return seconds


def decoding(generator: Generator, prompt: tuple[int, ...], run: Run, tokens: int) -> Run:
    """`run` with what `tokens` steps took, or those of LIMIT_S seconds."""
    stream = generator.steps(prompt)
    for _ in range(WARM):
        next(stream)
    begin, seconds, steps = time.perf_counter(), 0.0, 0
    while steps < tokens and seconds < LIMIT_S:
        next(stream)
        steps += 1
        seconds = time.perf_counter() - begin
    stream.close()  # type: ignore[attr-defined]
    return replace(run, tokens=steps * run.batch, seconds=seconds, explored=generator.explored,
                   chosen=generator.chosen)
