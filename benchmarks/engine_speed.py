"""Tokens per second of one sequence: the engine beside a bare llama_decode loop, interleaved in one process.

    python benchmarks/synthetic_model.py qwen3-0.6b model.gguf
    python benchmarks/engine_speed.py model.gguf --rounds 10 --tokens 32

Prints ratios of minima and of medians, and the median of each round's own ratio, which a machine that is busy now and
then disturbs least. `bare` is llama_decode with llama.cpp's own sampler chain (top-k 20, top-p 0.95,
temperature 0.6); `standard` is the same law through the engine; `led` explores at a share of the tokens (`--rate`).
`--memory WHO` loads one of them alone and prints the peak of its resident memory.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ledlocal.engine.engine import Engine
from ledlocal.methods.method import METHODS, LatentExploration, Step
from ledlocal.runtime import amx
from ledlocal.runtime.library import C
from ledlocal.runtime.llama import Context, Model, Row, context_params
from ledlocal.values.events import Token
from ledlocal.values.params import EngineOptions, Led, Request, Sampling

CONTEXT, THREADS, PROMPT = 2048, 2, tuple(range(20))


class ForcedCoin(LatentExploration):
    """LED that explores at a fixed share of the tokens, evenly spread, whatever the model's confidence."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.tossed = self.explored = 0

    def explores(self, step: Step) -> NDArray[np.bool_]:
        """Where the share falls behind; one row at a time."""
        self.tossed += 1
        explores = self.explored + 1 <= self._rate * self.tossed
        self.explored += explores
        return np.array([explores])


class Bare:
    """llama_decode and llama.cpp's sampler chain, nothing else."""

    def __init__(self, path: Path) -> None:
        self._model = Model(path, extra_buffers=amx.usable())
        self._context = Context(self._model, context_params(CONTEXT, 1, 512, THREADS, unified=True))
        self._chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
        for sampler in (C.llama_sampler_init_top_k(20), C.llama_sampler_init_top_p(0.95, 1),
                        C.llama_sampler_init_temp(0.6), C.llama_sampler_init_dist(1)):
            C.llama_sampler_chain_add(self._chain, sampler)

    def tokens(self) -> Iterator[int]:
        """Endless tokens after the prompt."""
        self._context.forget(0)
        self._context.decode([Row(t, i, 0, False) for i, t in enumerate(PROMPT[:-1])])
        token, position = PROMPT[-1], len(PROMPT) - 1
        while True:
            self._context.decode([Row(token, position, 0, True)])
            token = C.llama_sampler_sample(self._chain, self._context.handle, -1)
            position += 1
            yield token

    def close(self) -> None:
        """Free context and model."""
        C.llama_sampler_free(self._chain)
        self._context.close()
        self._model.close()


class ThroughEngine:
    """One sequence of the engine."""

    def __init__(self, path: Path) -> None:
        self._engine = Engine(EngineOptions(str(path), context=CONTEXT, threads=THREADS))
        self._seed = 0

    def tokens(self, sampling: Sampling) -> Iterator[int]:
        """Tokens after the prompt, up to the context's end."""
        self._seed += 1
        request = Request(prompt_ids=PROMPT, thinking=sampling, answer=sampling, seed=self._seed, ignore_eos=True)
        for event in self._engine.generate(request):
            if isinstance(event, Token):
                yield event.id

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()


def seconds(start: Callable[[], Iterator[int]], count: int) -> float:
    """Time of `count` tokens after the first two."""
    stream = start()
    for _ in range(2):
        next(stream)
    begin = time.perf_counter()
    for _ in range(count):
        next(stream)
    elapsed = time.perf_counter() - begin
    stream.close()  # type: ignore[attr-defined]
    return elapsed


def peak_mib() -> float:
    """Peak of this process's resident memory."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@contextmanager
def opened(path: Path, names: tuple[str, ...]) -> Iterator[dict[str, Callable[[], Iterator[int]]]]:
    """What makes a stream of tokens, by name; only what `names` needs is loaded, in their order."""
    standard, led = Sampling(method="standard"), Sampling(method="led", led=Led(scope="all"))
    with ExitStack() as stack:
        known: dict[str, Callable[[], Iterator[int]]] = {}
        for name in names:
            if name == "bare":
                known["bare"] = stack.enter_context(closing(Bare(path))).tokens
            elif len(known) <= ("bare" in known):
                engine = stack.enter_context(closing(ThroughEngine(path)))
                known |= {"standard": partial(engine.tokens, standard), "led": partial(engine.tokens, led)}
        yield known


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.07)
    parser.add_argument("--memory", choices=("bare", "standard", "led"))
    options = parser.parse_args()
    coin = METHODS["led"] = ForcedCoin(options.rate)
    if options.memory:
        with opened(options.model, (options.memory,)) as running:
            seconds(running[options.memory], options.tokens)
        print(f"{options.memory}: peak {peak_mib():.1f} MiB, model file {options.model.stat().st_size / 2**20:.1f} MiB")
        return
    names = ("bare", "standard", "led")
    times: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(options.rounds):
        # loaded anew in every round: where the buffers happen to lie in memory costs up to 5 %
        order = names[round_number % 3:] + names[:round_number % 3]
        with opened(options.model, order) as running:
            for name in order:
                times[name].append(seconds(running[name], options.tokens))
    for name in names:
        low, mid = min(times[name]), statistics.median(times[name])
        print(f"{name:9} {1e3 * low / options.tokens:7.2f} ms/token min {1e3 * mid / options.tokens:7.2f} median")
    print(f"led explored {coin.explored} of {coin.tossed} tokens")
    for a, b in (("standard", "bare"), ("led", "standard")):
        low, mid = min(times[b]) / min(times[a]), statistics.median(times[b]) / statistics.median(times[a])
        pair = statistics.median(slow / fast for slow, fast in zip(times[b], times[a], strict=True))
        print(f"{a} speed / {b} speed: {low:.3f} (minima), {mid:.3f} (medians), {pair:.3f} (median of the rounds' own)")


if __name__ == "__main__":
    main()
