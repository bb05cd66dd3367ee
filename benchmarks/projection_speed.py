"""Microseconds of one projection: n explored rows of a step through the output head.

    python benchmarks/projection_speed.py model.gguf --tap native --batch 128

`same`: the same number of rows every time; `changing`: one more and one less in turn, as coins fall.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from ledlocal.methods.led import layers_of
from ledlocal.runtime.llama import Context, Model, Row, context_params
from ledlocal.runtime.taps.native import NativeTap
from ledlocal.runtime.taps.plugin import PluginTap
from ledlocal.runtime.taps.protocol import Tap
from ledlocal.values.params import PRESETS

K = 8


def microseconds(tap: Tap, numbers: Sequence[int], layers: Sequence[int], norm: bool, times: int) -> list[float]:
    """Of `times` projections of so many rows, in turn; the first ones are left out."""
    found = []
    for n in islice(cycle(numbers), times + 10):
        rows, ids = np.arange(n), np.tile(np.arange(K, dtype=np.int32), (n, 1))
        begin = time.perf_counter()
        tap.project(rows, ids, layers, norm, np.ones(n))
        found.append(1e6 * (time.perf_counter() - begin))
    return found[10:]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tap", choices=("native", "plugin"), default="native")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--times", type=int, default=60)
    options = parser.parse_args()
    with closing(Model(options.model)) as model:
        led = PRESETS["reference"]
        layers = layers_of(led, model.n_layer)
        tap: Tap = NativeTap() if options.tap == "native" else PluginTap()
        params = context_params(64, options.batch, 512, options.threads, unified=False)
        tap.configure(params)
        with closing(Context(model, params)) as context:
            tap.attach(context, layers)
            tap.prepare(np.ones(options.batch))
            context.decode([Row(7, 0, i, True) for i in range(options.batch)])
            tap.topk()
            for n in (1, 2, 4, 8, 16, 32, 64, 128):
                if n > options.batch:
                    break
                same = microseconds(tap, [n], layers, led.norm, options.times)
                changing = microseconds(tap, [n, max(1, n - 1), min(options.batch, n + 1)], layers, led.norm,
                                        options.times)
                print(f"{n:4} rows x {len(layers)} layers: same {statistics.median(same):8.0f} us, "
                      f"changing {statistics.median(changing):8.0f} us")
            tap.detach()


if __name__ == "__main__":
    main()
