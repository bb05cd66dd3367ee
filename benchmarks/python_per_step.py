"""Milliseconds of our own Python in a step of the engine: the step without what llama.cpp took.

    python benchmarks/python_per_step.py model.gguf --batch 32 --method led

Calls into libllama and libggml are timed where they are made, and what is left is ours, the timing itself included.
Where numbers wait for the device (llama_synchronize) they count as llama.cpp's.
With `--warm` nothing is decoded, so that Python finds its code and data still in the processor's caches.
With `--parts` each part's own time is shown, its median over the steps. Results: results/python-per-step.txt.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from ledlocal.bench.through_engine import forced
from ledlocal.engine.choice import Chooser
from ledlocal.engine.engine import Engine
from ledlocal.engine.kv_cache import KvCache
from ledlocal.engine.scheduler import Scheduler
from ledlocal.engine.sequence import Sequence
from ledlocal.methods.method import Control, LatentExploration, Standard
from ledlocal.runtime import ggml
from ledlocal.runtime.library import C
from ledlocal.runtime.llama import Context
from ledlocal.runtime.taps import plugin
from ledlocal.values.events import Started
from ledlocal.values.params import EngineOptions, Led, Request, Sampling

LIBRARY = "libllama and libggml"
PARTS = [(Scheduler, "next", "which tokens"), (plugin.PluginTap, "prepare", "temperatures"),
         (Context, "decode", "the batch"), (KvCache, "extend", "the cache's tokens"),
         (plugin.PluginTap, "topk", "the list"), (plugin, "final_layer", "the list, sorted"),
         (Chooser, "choose", "random numbers, groups"), (Chooser, "_choose_group", "of each group"),
         *((method, name, "the method") for method in (Standard, LatentExploration, Control)
           for name in ("candidates", "explores", "choose") if name in vars(method)),
         (Chooser, "_project", "projection"), (Sequence, "accept", "text, phase, limits")]


class Meter:
    """Seconds spent in functions that it has wrapped, without those in others that they call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def wrap(self, owner: Any, name: str, part: str) -> None:
        """Replace a function of a module or class."""
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any) -> Any:
            begin = time.perf_counter()
            self._inner.append(0.0)
            try:
                return function(*arguments)
            finally:
                whole = time.perf_counter() - begin
                self.seconds[part] += whole - self._inner.pop()
                self._inner[-1] += whole

        setattr(owner, name, timed)

    def step(self, engine: Engine) -> dict[str, float]:
        """Milliseconds of each part in one step, `rest` and all included."""
        self.seconds.clear()
        begin = time.perf_counter()
        engine.step()
        whole = time.perf_counter() - begin
        seconds = {**self.seconds, "rest": whole - sum(self.seconds.values()), "whole": whole}
        return {part: 1e3 * spent for part, spent in seconds.items()}


def decode_nothing(engine: Engine) -> None:
    """From now on every decode leaves the numbers of the last one."""

    def untouched(_context: object, batch: Any) -> int:
        for _ in range(batch.n_tokens):  # what the plugin counts
            engine._tap._backend_set_input(None)  # type: ignore[attr-defined]
        return 0

    C.llama_decode = untouched


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--method", choices=("standard", "led"), default="standard")
    parser.add_argument("--coin", type=float, help="share of tokens that explore")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--detail", default="forks")
    parser.add_argument("--warm", action="store_true", help="without decoding")
    parser.add_argument("--parts", action="store_true", help="where the time goes")
    options = parser.parse_args()
    meter = Meter()
    for owner, name, part in PARTS if options.parts else ():
        meter.wrap(owner, name, part)
    sampling = Sampling(method=options.method, led=Led(scope="all"))
    with Engine(EngineOptions(options.model, context=options.steps + 64, slots=options.batch,
                              tap="plugin")) as engine, forced(options.coin):
        engine.submit(Request(prompt_ids=tuple(range(20)), thinking=sampling, answer=sampling, n=options.batch,
                              ignore_eos=True, detail=options.detail))
        while not any(isinstance(event, Started) for event in engine.step()):
            pass
        engine.step()
        if options.warm:
            decode_nothing(engine)
        for name in ("llama_decode", "llama_synchronize"):
            meter.wrap(C, name, LIBRARY)
        for name in ("graph_compute", "_tensor_get", "_tensor_set"):
            meter.wrap(ggml, name, LIBRARY)
        for _ in range(3):
            engine.step()
        steps = [meter.step(engine) for _ in range(options.steps)]
    whole, own = [step["whole"] for step in steps], [step["whole"] - step[LIBRARY] for step in steps]
    print(f"step {statistics.median(whole):.3f} ms, of which Python {statistics.median(own):.3f} ms "
          f"(minima {min(whole):.3f} and {min(own):.3f})")
    medians = {part: statistics.median(step.get(part, 0.0) for step in steps) for part in steps[0]}
    for part in sorted(medians, key=lambda part: -medians[part]) if options.parts else ():
        print(f"{1e3 * medians[part]:8.1f} us  {part}")


if __name__ == "__main__":
    main()
