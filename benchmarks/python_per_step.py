"""Milliseconds of our own Python in a step of the engine: the step without what llama.cpp took.

    python benchmarks/python_per_step.py model.gguf --batch 32 --method led

Calls into libllama and libggml are timed where they are made, and what is left is ours, the timing itself included.
Where numbers wait for the device (llama_synchronize) they count as llama.cpp's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from ledlocal.bench.through_engine import forced
from ledlocal.engine.engine import Engine
from ledlocal.runtime import ggml
from ledlocal.runtime.library import C
from ledlocal.values.events import Started
from ledlocal.values.params import EngineOptions, Led, Request, Sampling


class Meter:
    """Seconds spent in functions that it has wrapped."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, module: Any, name: str) -> None:
        """Replace a function of a module."""
        function: Callable[..., Any] = getattr(module, name)

        def timed(*arguments: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.perf_counter() - begin

        setattr(module, name, timed)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--method", choices=("standard", "led"), default="standard")
    parser.add_argument("--coin", type=float, help="share of tokens that explore")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--detail", default="forks")
    options = parser.parse_args()
    meter = Meter()
    for name in ("llama_decode", "llama_synchronize"):
        meter.wrap(C, name)
    for name in ("graph_compute", "_tensor_get", "_tensor_set"):
        meter.wrap(ggml, name)
    sampling = Sampling(method=options.method, led=Led(scope="all"))
    with Engine(EngineOptions(options.model, context=options.steps + 64, slots=options.batch,
                              tap="plugin")) as engine, forced(options.coin):
        engine.submit(Request(prompt_ids=tuple(range(20)), thinking=sampling, answer=sampling, n=options.batch,
                              ignore_eos=True, detail=options.detail))
        while not any(isinstance(event, Started) for event in engine.step()):
            pass
        for _ in range(3):
            engine.step()
        whole, own = [], []
        for _ in range(options.steps):
            begin, library = time.perf_counter(), meter.seconds
            engine.step()
            whole.append(1e3 * (time.perf_counter() - begin))
            own.append(whole[-1] - 1e3 * (meter.seconds - library))
    print(f"step {statistics.median(whole):.3f} ms, of which Python {statistics.median(own):.3f} ms "
          f"(minima {min(whole):.3f} and {min(own):.3f})")


if __name__ == "__main__":
    main()
