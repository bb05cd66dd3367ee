"""What `ledlocal bench` makes of its runs: medians, rows, sentences and tables, by hand."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from bench_runs import METHODS_OF, plan, run, vars_of
from scipy.stats import binom

from ledlocal.bench.contender import DEFAULT
from ledlocal.bench.memory import Taken, peak_bytes
from ledlocal.bench.report import Report
from ledlocal.bench.rows import Row, rows_of
from ledlocal.bench.summary import NO_BREAK, summary
from ledlocal.runtime.build import Build, Device
from ledlocal.statistics.median import median_estimate


@pytest.mark.parametrize("n, at, coverage", [(1, 0, 0.0), (5, 0, 0.9375), (6, 0, 0.96875), (9, 1, 0.9609),
                                             (20, 5, 0.9586), (100, 39, 0.9648)])
def test_bounds_of_a_median_are_the_order_statistics_of_the_tables(n: int, at: int, coverage: float) -> None:
    values = np.random.default_rng(n).permutation(n).astype(float).tolist()
    found = median_estimate(values)
    assert (found.low, found.high, found.value) == (at, n - 1 - at, (n - 1) / 2)
    assert found.coverage == pytest.approx(coverage, abs=5e-5)
    assert found.coverage == pytest.approx(1 - 2 * binom.cdf(at, n, 0.5))


def test_bounds_hold_the_median_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    for n in (5, 8, 15):
        found = [median_estimate(rng.exponential(size=n).tolist()) for _ in range(4000)]
        held = np.mean([one.low <= np.log(2) <= one.high for one in found])
        assert held == pytest.approx(found[0].coverage, abs=0.015)


def test_rows_by_hand() -> None:
    runs = [run("bare", 0, 1.0), run("standard", 0, 1.25), run("led:coin=0.5", 0, 2.5, explored=5, chosen=10),
            run("standard", 1, 2.0), run("bare", 1, 1.0), run("led:coin=0.5", 1, 2.0, explored=5, chosen=10),
            run("bare", 2, 4.0), run("standard", 2, 4.0), run("bare", 0, 0.5, "prefill")]
    rows = list(rows_of(plan("bare,standard,led:coin=0.5"), runs, {"auto": "plugin"}))
    found = {(row.phase, row.method): row for row in rows}
    assert list(found) == [("prefill", "bare"), ("decode", "bare"), ("decode", "standard"), ("decode", "led:coin=0.5")]
    bare, standard, led = (found["decode", name] for name in ("bare", "standard", "led:coin=0.5"))
    assert (bare.tokens_per_s, bare.best_tokens_per_s, bare.seconds_per_step, bare.rounds) == (10, 10, 0.1, 3)
    assert bare.spread == pytest.approx((10 - 6.25) / 10)  # speeds 10, 10, 2.5: quartiles 6.25 and 10
    assert standard.ratio_to_standard is None and bare.ratio_to_bare is None
    assert standard.ratio_to_bare is not None
    # 1/1.25, 1/2, 4/4: pairs of one round, not of medians
    assert (standard.ratio_to_bare.low, standard.ratio_to_bare.value, standard.ratio_to_bare.high) == (0.5, 0.8, 1.0)
    assert led.ratio_to_standard is not None and led.ratio_to_bare is not None
    assert (led.ratio_to_standard.value, led.ratio_to_bare.value) == (0.75, 0.45)  # of the two rounds that both ran
    assert (led.explore_rate, led.forced, led.tap, standard.forced) == (0.5, True, "plugin", False)
    assert bare.explore_rate is None and found["prefill", "bare"].tokens_per_s == 20


def test_what_is_too_noisy() -> None:
    def row(*seconds: float) -> Row:
        runs = [one for i, s in enumerate(seconds) for one in (run("standard", i, 1.0), run("led", i, s))]
        return next(row for row in rows_of(plan("standard,led"), runs, {}) if row.method == "led")

    assert not row(1.0, 1.01, 1.02, 1.01, 1.0).noisy
    assert row(1.0, 1.01, 1.06, 1.01, 1.0).noisy
    assert row(1.0, 1.0, 1.0, 1.0).noisy  # four rounds tell nothing
    assert next(rows_of(plan("led"), [run("led", 0, 1.0)], {})).noisy  # nothing to compare it with, and one round
    assert not row(*[1.0] * 20, 2.0).noisy  # an outlier among many is left out


def report() -> Report:
    return Report(plan("bare,standard"), Build("0.3.36", "", "", False, False, ()), 3 << 20)


def test_the_table_says_the_same() -> None:
    one = report()
    for number in range(5):
        for name, seconds in (("bare", 1.0), ("standard", 1.25)):
            one.take({"event": "run", "run": vars_of(run(name, number, seconds))})
    one.take({"event": "skipped", "tap": "auto", "batch": 64, "why": "no memory"})
    lines, ratio = list(one.lines()), "1      standard  0.800 [0.800, 0.800]"
    assert ratio in lines
    assert ["1", "standard", "8.0", "8.0", "0.0", "%", "125.00", "5"] in [line.split() for line in lines]
    assert lines.index("In short, with tap auto:") < lines.index(ratio)
    assert lines[-1] == "not measured: batch 64, tap auto: no memory"
    assert not any("noisy" in line for line in lines) and any("at least 94 %" in line for line in lines)


def sentences(one: Report) -> list[str]:
    return [line.replace(NO_BREAK, " ") for line in summary(one.rows)]


@pytest.mark.parametrize("seconds, words", [
    ((1.02, 1.03, 1.03, 1.03, 1.04), "3 % slower at 1 sequence (0.971 [0.962, 0.980])"),
    ((1.05, 1.2, 1.3, 1.4, 1.6), "too noisy to tell at 1 sequence (0.769 [0.625, 0.952])"),
    ((1.8, 1.9, 2.0, 2.1, 2.2), "44 to 55 % slower at 1 sequence (0.500 [0.455, 0.556])"),
    ((0.5, 0.51, 0.52, 0.53, 0.55), "82 to 100 % faster at 1 sequence (1.923 [1.818, 2.000])"),
    ((0.99, 0.995, 1.0, 1.0, 1.012), "the same within 2 % at 1 sequence (1.000 [0.988, 1.010])"),
    ((0.9, 1.0, 1.0, 1.0, 1.1), "too noisy to tell at 1 sequence (1.000 [0.909, 1.111])"),
    ((1.003, 1.004, 1.004, 1.004, 1.005), "0.4 % slower at 1 sequence (0.996 [0.995, 0.997])"),
    ((2.0, 2.0), "too few rounds (2) to tell at 1 sequence (0.500 [0.500, 0.500])")])
def test_what_a_ratio_tells(seconds: tuple[float, ...], words: str) -> None:
    one = report()
    for number, taken in enumerate(seconds):
        for name, time_of in (("bare", 1.0), ("standard", taken)):
            one.take({"event": "run", "run": vars_of(run(name, number, time_of))})
    assert sentences(one)[2:] == [f"standard beside bare: {words}"]


def test_a_summary_is_of_the_smallest_and_the_largest_batch_and_of_leds_own_coin() -> None:
    one = Report(plan(METHODS_OF, batches=(32, 8, 1)), Build("0.3.36", "", "", False, False, ()), 3 << 20)
    for batch in (1, 8, 32):
        for name in METHODS_OF.split(","):
            for phase in ("prefill", "decode"):
                for number in range(5):
                    chosen = {"explored": 1, "chosen": 10} if "led" in name else {}
                    one.take({"event": "run", "run": vars_of(run(name, number, 1.0, phase, batch, tokens=batch,
                                                                 **chosen))})
    same, equal = "the same within 0 % at", "1.000 [1.000, 1.000]"
    assert sentences(one) == [
        "In short, with tap auto:", "standard: 1 tokens/s at 1 sequence, 32 tokens/s at 32 sequences",
        f"standard beside bare: {same} 1 sequence ({equal}), {same} 32 sequences ({equal})",
        f"led beside standard: {same} 1 sequence ({equal}, 10.0 % explored), "
        f"{same} 32 sequences ({equal}, 10.0 % explored)",
        f"led:eager beside standard: {same} 1 sequence ({equal}), {same} 32 sequences ({equal})"]


def test_every_line_fits_into_80_columns_whatever_the_numbers() -> None:
    methods = DEFAULT + ",led:coin=0.0625"
    one = Report(plan(methods, prompt=2**20, tokens=2**20, batches=(256,)), Build("0.3.36", "", "", False, False, (
        Device("CUDA0", "NVIDIA RTX PRO 6000 Blackwell Workstation Edition", True, 1 << 36),)), 3 << 30)
    one.depth, one.peaks, one.planned = 2**20, {"bare": 1 << 40}, {"host": 1 << 40, "CUDA0": 1 << 40}
    one.take({"event": "memory", "ours": True, "bytes": {"host": 1 << 40, "CUDA0": 1 << 40}})
    rng = np.random.default_rng(0)
    one.taps = {"auto": "reference"}
    for name, phase, number in product(methods.split(","), ("prefill", "decode"), range(5)):
        one.take({"event": "run", "run": vars_of(run(name, number, float(rng.lognormal(-5, 2)), phase, 256,
                                                     tokens=2560, explored=10, chosen=10))})
    assert max(map(len, one.lines())) <= 79


def test_memory_is_measured_beside_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = {1: 800, 2: 500, 3: 0}
    for name, found in {"device_count": lambda: 4, "device_at": lambda i: i, "device_type": lambda i: min(i, 1),
                        "device_name": lambda i: b"GPU%d" % i, "memory_of": lambda i: (gpus[i], 2 * gpus[i])}.items():
        monkeypatch.setattr(f"ledlocal.runtime.ggml.{name}", found)
    taken = Taken()
    gpus |= {1: 300, 2: 600}
    found = taken.bytes()
    assert found == {"host": pytest.approx(peak_bytes(), rel=0.1), "GPU1": 500, "GPU2": 0}
    one = report()
    one.take({"event": "run", "run": vars_of(run("standard", 0, 1.0))})
    for ours, host, gpu in ((True, 5 << 20, 7 << 20), (True, 6 << 20, 3 << 20), (False, 9 << 20, 9 << 20)):
        one.take({"event": "memory", "ours": ours, "bytes": {"host": host, "GPU1": gpu}})
    one.planned = {"host": 2 << 20}
    assert json.loads(one.to_json(True))["memory"]["measured_bytes"] == {"host": 6 << 20, "GPU1": 7 << 20}
    assert "host 6.0 MiB (2.0), GPU1 7.0 MiB" in " ".join(one.lines())
