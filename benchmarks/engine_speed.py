"""Tokens per second: the engine beside a bare llama_decode loop, interleaved in one process.

    python benchmarks/synthetic_model.py qwen3-0.6b model.gguf
    python benchmarks/engine_speed.py model.gguf --rounds 10 --tokens 32

Prints ratios of minima and of medians, and the median of each round's own ratio, which a machine that is busy now and
then disturbs least. `bare` is llama_decode with llama.cpp's own sampler chain (top-k 20, top-p 0.95,
temperature 0.6), `device` the same with that chain in the graph where the backend can (llama-server's -bs), `standard`
is the same law through the engine; `led` explores at a share of the tokens (`--rate`).
`--memory WHO` loads one of them alone and prints the peak of its resident memory.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledlocal.engine.engine import Engine
from ledlocal.methods.method import METHODS, LatentExploration, Step
from ledlocal.runtime import amx
from ledlocal.runtime.library import C
from ledlocal.runtime.llama import Context, Model, Row, context_params
from ledlocal.runtime.plan import UNIFIED_SLOTS
from ledlocal.values.events import Token
from ledlocal.values.params import EngineOptions, Led, Request, Sampling

PROMPT = tuple(range(20))


class ForcedCoin(LatentExploration):
    """LED that explores at a fixed share of the tokens, evenly spread, whatever the model's confidence."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.tossed = self.explored = 0

    def explores(self, step: Step) -> NDArray[np.bool_]:
        """Where the share falls behind."""
        due = np.floor(self._rate * np.arange(self.tossed, self.tossed + len(step.u0) + 1))
        self.tossed += len(step.u0)
        self.explored += int(due[-1] - due[0])
        return np.diff(due) > 0


class Bare:
    """llama_decode and llama.cpp's sampler chains, nothing else; `device`: the chains run in the model's graph."""

    def __init__(self, options: EngineOptions, device: bool) -> None:
        assert options.context is not None and options.threads is not None
        self._model = Model(Path(options.model), extra_buffers=amx.usable())
        self._batch = options.slots
        self._context = Context(self._model, context_params(
            options.context, self._batch, 512, options.threads, unified=self._batch <= UNIFIED_SLOTS))
        self._chains = [self._chain(i) for i in range(self._batch)]
        if device and not all(C.llama_set_sampler(self._context.handle, i, chain)
                              for i, chain in enumerate(self._chains)):
            raise SystemExit("llama.cpp takes no backend samplers here")

    def _chain(self, seed: int) -> Any:
        chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
        for sampler in (C.llama_sampler_init_top_k(20), C.llama_sampler_init_top_p(0.95, 1),
                        C.llama_sampler_init_temp(0.6), C.llama_sampler_init_dist(seed)):
            C.llama_sampler_chain_add(chain, sampler)
        return chain

    def tokens(self) -> Iterator[int]:
        """Endless tokens after the prompt, of one sequence after the other."""
        for i in range(self._batch):
            self._context.forget(i)
            self._context.decode([Row(t, j, i, False) for j, t in enumerate(PROMPT[:-1])])
        tokens, position = [PROMPT[-1]] * self._batch, len(PROMPT) - 1
        while True:
            self._context.decode([Row(token, position, i, True) for i, token in enumerate(tokens)])
            tokens = [C.llama_sampler_sample(chain, self._context.handle, i) for i, chain in enumerate(self._chains)]
            position += 1
            yield from tokens

    def close(self) -> None:
        """Free context and model."""
        self._context.close()
        for chain in self._chains:
            C.llama_sampler_free(chain)
        self._model.close()


class ThroughEngine:
    """Samples of one prompt, as many as there are slots."""

    def __init__(self, options: EngineOptions) -> None:
        self._engine, self._batch = Engine(options), options.slots
        self._seed = 0

    def tokens(self, sampling: Sampling) -> Iterator[int]:
        """Tokens after the prompt, up to the context's end."""
        self._seed += 1
        request = Request(prompt_ids=PROMPT, thinking=sampling, answer=sampling, n=self._batch, seed=self._seed,
                          ignore_eos=True)
        for event in self._engine.generate(request):
            if isinstance(event, Token):
                yield event.id

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()


def seconds(start: Callable[[], Iterator[int]], count: int, batch: int) -> float:
    """Time of `count` steps after the first two."""
    stream = start()
    for _ in range(2 * batch):
        next(stream)
    begin = time.perf_counter()
    for _ in range(count * batch):
        next(stream)
    elapsed = time.perf_counter() - begin
    stream.close()  # type: ignore[attr-defined]
    return elapsed


def peak_mib() -> float:
    """Peak of this process's resident memory."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@contextmanager
def opened(engine: EngineOptions, names: Sequence[str]) -> Iterator[dict[str, Callable[[], Iterator[int]]]]:
    """What makes a stream of tokens, by name; only what `names` needs is loaded, in their order."""
    samplings = {"standard": Sampling(method="standard"), "led": Sampling(method="led", led=Led(scope="all"))}
    with ExitStack() as stack:
        known: dict[str, Callable[[], Iterator[int]]] = {}
        for name in names:
            if name not in samplings:
                known[name] = stack.enter_context(closing(Bare(engine, name == "device"))).tokens
            elif name not in known:
                through = stack.enter_context(closing(ThroughEngine(engine)))
                known |= {name: partial(through.tokens, sampling) for name, sampling in samplings.items()}
        yield known


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=32, help="per sequence")
    parser.add_argument("--rate", type=float, default=0.07)
    parser.add_argument("--batch", type=int, default=1, help="sequences side by side")
    parser.add_argument("--context", type=int, default=2048, help="tokens of a sequence")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tap", default="auto")
    parser.add_argument("--device", action="store_true", help="add the column `device`")
    parser.add_argument("--memory", choices=("bare", "standard", "led"))
    options = parser.parse_args()
    engine = EngineOptions(str(options.model), options.context, options.batch, options.threads, tap=options.tap)
    coin = METHODS["led"] = ForcedCoin(options.rate)
    if options.memory:
        with opened(engine, (options.memory,)) as running:
            seconds(running[options.memory], options.tokens, options.batch)
        print(f"{options.memory}: peak {peak_mib():.1f} MiB, model file {options.model.stat().st_size / 2**20:.1f} MiB")
        return
    names = ("bare", *(["device"] if options.device else []), "standard", "led")
    times: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(options.rounds):
        # loaded anew in every round: where the buffers happen to lie in memory costs up to 5 %
        at = round_number % len(names)
        order = names[at:] + names[:at]
        with opened(engine, order) as running:
            for name in order:
                times[name].append(seconds(running[name], options.tokens, options.batch))
    print(f"{options.model.stem}, {options.batch} side by side, tap {options.tap}")
    for name in names:
        low, mid = (1e3 * pick(times[name]) / options.tokens for pick in (min, statistics.median))
        print(f"{name:9} {low:7.2f} ms/step min {mid:7.2f} median, {1e3 * options.batch / mid:8.1f} tokens/s")
    print(f"led explored {coin.explored} of {coin.tossed} tokens")
    for a, b in (("standard", "bare"), ("led", "standard"), *([("led", "device")] if options.device else [])):
        low, mid = min(times[b]) / min(times[a]), statistics.median(times[b]) / statistics.median(times[a])
        pair = statistics.median(slow / fast for slow, fast in zip(times[b], times[a], strict=True))
        print(f"{a} speed / {b} speed: {low:.3f} (minima), {mid:.3f} (medians), {pair:.3f} (median of the rounds' own)")


if __name__ == "__main__":
    main()
