"""`ledlocal bench`: numbers by hand, runs on the demo model, and what happens when it goes wrong."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from real_command import start
from scipy.stats import binom

from ledlocal import cli
from ledlocal.bench import measurement
from ledlocal.bench.bare import Bare
from ledlocal.bench.contender import contenders_of
from ledlocal.bench.measurement import Measurement
from ledlocal.bench.plan import Plan, Run, plan_from_json
from ledlocal.bench.process import measure
from ledlocal.bench.prompts import Prompts
from ledlocal.bench.report import Report
from ledlocal.bench.rows import Row, rows_of
from ledlocal.bench.through_engine import ForcedCoin, ThroughEngine
from ledlocal.engine.engine import Engine
from ledlocal.methods.final import FinalLayer
from ledlocal.methods.method import METHODS, Step
from ledlocal.models import DEMO
from ledlocal.runtime.build import Build
from ledlocal.runtime.llama import Model
from ledlocal.runtime.plan import params_of
from ledlocal.statistics.median import median_estimate
from ledlocal.values.errors import BadInput, EngineDied, LedlocalError, OutOfResources, TapRefused
from ledlocal.values.params import EngineOptions, Sampling, TapName

METHODS_OF = "bare,backend,standard,led,led:coin=0.5,led:eager"


def plan(methods: str = METHODS_OF, **other: Any) -> Plan:
    return replace(Plan(EngineOptions(str(DEMO), threads=1), contenders_of(methods), (1, 2), ("auto",), 2, 3, 8, 0),
                   **other)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli.main, ["bench", *args], prog_name="ledlocal")


# numbers

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


def run(contender: str, number: int, seconds: float, phase: Any = "decode", batch: int = 1, **other: Any) -> Run:
    return Run(**{"tap": "auto", "batch": batch, "round": number, "contender": contender, "phase": phase, "tokens": 10,
                  "seconds": seconds, "explored": 0, "chosen": 0} | other)


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


@given(st.floats(0, 1), st.lists(st.integers(1, 40), max_size=20))
def test_a_forced_coin_explores_its_share_however_rows_are_grouped(share: float, groups: list[int]) -> None:
    coin, explored = ForcedCoin(share), 0
    for n in groups:
        final = FinalLayer(np.zeros((n, 1), np.int32), np.zeros((n, 1), np.float32), np.ones(n), np.zeros(n),
                           np.zeros(n), True)
        step = Step(Sampling(), True, final, np.zeros(n), np.zeros(n), final.logits.__getitem__)
        found = coin.explores(step, (final.ids, final.probs()))
        assert found.shape == (n,)
        explored += int(found.sum())
    assert abs(explored - floor(share * sum(groups))) <= 1


@pytest.mark.parametrize("text, said", [
    ("bare,dola", "not 'dola'"), ("led:coin=2", "a number from 0 to 1"), ("led:coin=x", "a number from 0 to 1"),
    ("led:coin=nan", "a number from 0 to 1"), ("led,led", "names led twice"),
    ("led:coin=0.05,led:coin=0.050", "names led:coin=0.05 twice"), ("", "not ''")])
def test_contenders_that_are_none(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        contenders_of(text)


def test_a_plan_survives_json() -> None:
    one = plan(options=EngineOptions(str(DEMO), think_tags=("a", "b")), ids=(1, 2))
    assert plan_from_json(one.to_json()) == one


# runs

@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(EngineOptions(str(DEMO), context=300, slots=3, threads=1)) as engine:
        yield engine


def test_prompts_have_their_length_and_no_common_beginning(engine: Engine) -> None:
    prompts = Prompts(engine, "Use 2, 3, 8 and 10 to make 13.", 6)
    for length in (0, prompts.shortest, 50, 200):
        made = [prompts.make(i, length) for i in range(6)]
        assert {len(one) for one in made} == {max(length, prompts.shortest)}
        question = "".join(engine._session.vocabulary.text_of(i) for i in made[0][-prompts.shortest:])
        assert "2, 3, 8 and 10" in question
        for i, a in enumerate(made):
            for b in made[:i]:
                assert next(n for n, (x, y) in enumerate(zip(a, b, strict=True)) if x != y) < prompts._head <= 4


def test_bare_decodes_one_token_of_every_sequence_per_step() -> None:
    options = EngineOptions(str(DEMO), slots=3)
    with closing(Model(DEMO)) as model, closing(Bare(model, params_of(options, 100), False)) as bare:
        for prompt in ((5, 6, 7, 8), (9, 10)):  # the second time nothing of the first is left
            steps = bare.steps(prompt)
            for done in range(1, 6):
                next(steps)
                assert [bare._context.last_position(i) for i in range(3)] == [len(prompt) - 2 + done] * 3


def test_the_engine_draws_one_token_of_every_sample_per_step(engine: Engine) -> None:
    for name, share in (("standard", None), ("led:coin=0.5", 0.5), ("led:eager", 1.0)):
        ours = ThroughEngine(engine, contenders_of(name)[0])
        steps = ours.steps((5, 6, 7, 8))
        for _ in range(8):
            next(steps)
        steps.close()  # type: ignore[attr-defined]
        assert not engine.busy and METHODS["led"].__class__.__name__ == "LatentExploration"
        assert ours.chosen == (24 if share is not None else 0)
        assert ours.explored == 24 * (share or 0)


def test_a_sample_that_ends_early_is_no_step(engine: Engine) -> None:
    steps = ThroughEngine(engine, contenders_of("standard")[0]).steps(tuple(range(5, 290)))
    with pytest.raises(LedlocalError, match="the context of 300 tokens is full"):
        for _ in range(100):
            next(steps)
    assert not engine.busy


def test_all_of_it_on_the_demo_model(tmp_path: Path) -> None:
    kept = tmp_path / "bench.json"
    result = invoke("--batch", "2,1", "-r", "2", "-n", "4", "-p", "40", "-t", "1", "--methods", METHODS_OF, "--out",
                    str(kept), "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert json.loads(kept.read_text()) == found
    assert found["complete"] is True and found["not_measured"] == []
    rows = found["rows"]
    assert [row["method"] for row in rows if row["phase"] == "decode"] == METHODS_OF.split(",") * 2
    assert [row["method"] for row in rows if row["phase"] == "prefill"] == METHODS_OF.split(",")[:4] * 2
    assert {row["tap"] for row in rows} <= {"native", "plugin"} and {row["batch"] for row in rows} == {1, 2}
    for row in rows:
        assert 0 < row["tokens_per_s"] <= row["best_tokens_per_s"] and row["rounds"] == 2 and row["noisy"]
        assert (row["ratio_to_bare"] is None) == (row["method"] == "bare")
        assert (row["ratio_to_standard"] is None) == (row["method"] == "standard")
    rates = {row["method"]: row["explore_rate"] for row in rows if row["phase"] == "decode" and row["batch"] == 2}
    assert rates["led:eager"] == 1 and rates["led:coin=0.5"] == pytest.approx(0.5, abs=0.1)
    assert 0 <= rates["led"] < 0.5 and rates["standard"] is rates["bare"] is None
    assert found["model"]["vocabulary"] == 615 and found["machine"]["threads"] == 1
    assert set(found["memory"]["peak_bytes"]) == {"bare", "standard", "led"}
    assert min(found["memory"]["peak_bytes"].values()) > 10 << 20
    assert len(found["runs"]) == 2 * 2 * (6 + 4)


def report() -> Report:
    return Report(plan("bare,standard"), Build("0.3.36", "", "", False, False, ()), 3 << 20)


def test_the_table_says_the_same() -> None:
    one = report()
    for number in range(5):
        for name, seconds in (("bare", 1.0), ("standard", 1.25)):
            one.take({"event": "run", "run": vars_of(run(name, number, seconds))})
    one.take({"event": "skipped", "tap": "auto", "batch": 64, "why": "no memory"})
    lines = list(one.lines())
    assert any(line.split() == ["1", "standard", "0.800", "[0.800,", "0.800]", "8.0", "8.0", "0.0", "%", "125.00", "5"]
               for line in lines)
    assert lines[-1] == "not measured: batch 64, tap auto: no memory"
    assert not any("noisy" in line for line in lines) and any("at least 94 %" in line for line in lines)


def vars_of(one: Run) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Run.__dataclass_fields__}


# what goes wrong

def test_what_does_not_fit_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def engine(options: EngineOptions) -> Engine:
        if options.slots == 2:
            raise OutOfResources("too large")
        return Engine(options)

    monkeypatch.setattr(measurement, "Engine", engine)
    told: list[dict[str, Any]] = []
    Measurement(plan("standard", rounds=2, prompt=0), told.append).run()
    assert [event["run"]["batch"] for event in told if event["event"] == "run"] == [1, 1]
    assert [event["why"] for event in told if event["event"] == "skipped"] == ["too large"]


def test_a_tap_that_is_refused_is_named() -> None:
    told: list[dict[str, Any]] = []
    taps: tuple[TapName, ...] = ("plugin",)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(measurement, "Engine", refused)
        Measurement(plan("bare,led", rounds=1, prompt=0, batches=(1,), taps=taps, ids=(5, 6)), told.append).run()
    assert [event["why"] for event in told if event["event"] == "skipped"] == ["it shows no layers"]
    assert [event["run"]["contender"] for event in told if event["event"] == "run"] == ["bare"]


def refused(_options: EngineOptions) -> Engine:
    raise TapRefused("it shows no layers")


def test_a_process_that_dies_leaves_what_it_told() -> None:
    script = ("import os, signal, sys\n"
              "os.write(int(sys.argv[1]), b'{\"event\": \"peak\", \"bytes\": 1}\\n{\"eve')\n"
              "os.kill(os.getpid(), signal.SIGKILL)")
    events = measure(plan(), (sys.executable, "-c", script))
    assert next(events) == {"event": "peak", "bytes": 1}
    with pytest.raises(EngineDied, match="SIGKILL"):
        next(events)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_ended_measurement_shows_what_it_has(number: int, code: int) -> None:
    for seconds in (3, 10, 30):  # until something was measured, which a busy machine takes its time for
        command = start("bench", "--batch", "1", "-r", "100", "-n", "8", "-p", "0", "-t", "1", "--methods",
                        "bare,standard")
        time.sleep(seconds)
        command.send_signal(number)
        out, err = command.communicate(timeout=20)
        if b"standard" in out:
            break
    assert command.returncode == code and (b"interrupted" in err) == (code == 130)
    assert b"1      standard" in out and b"decode: 8 tokens" in out


@pytest.mark.parametrize("args, said", [
    (("--batch", "0"), "--batch takes different numbers from 1 to 256, not '0'"),
    (("--batch", "1,1"), "--batch takes different numbers"), (("--batch", "1,"), "--batch takes different numbers"),
    (("--batch", "257"), "--batch takes different numbers"), (("--tap", "none"), "--tap takes different ones of"),
    (("--methods", "fast"), "--methods takes bare"), (("-p", "1"), "--n-prompt takes 0 or at least 2"),
    (("--question", ""), "--question is empty"), (("-p", "2000000"), "is not in the range"),
    (("nothing.gguf",), "nothing.gguf")])
def test_bad_input_is_one_line(args: tuple[str, ...], said: str) -> None:
    result = invoke(*args)
    assert result.exit_code == 2 and not result.stdout
    assert said in result.stderr and result.stderr.count("\n") == 1


def test_a_file_that_exists_is_not_replaced(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text("mine")
    result = invoke("--out", str(kept))
    assert result.exit_code == 2 and "exists" in result.stderr and kept.read_text() == "mine"
