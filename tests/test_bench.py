"""`ledlocal bench`: what is measured, runs on the demo model, and what happens when it goes wrong."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_runs import METHODS_OF, plan
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from real_command import start

from ledlocal import cli
from ledlocal.bench import measurement
from ledlocal.bench.bare import Bare
from ledlocal.bench.contender import contenders_of
from ledlocal.bench.measurement import Measurement
from ledlocal.bench.plan import plan_from_json
from ledlocal.bench.process import measure
from ledlocal.bench.prompts import Prompts
from ledlocal.bench.through_engine import ForcedCoin, ThroughEngine
from ledlocal.engine.engine import Engine
from ledlocal.methods.final import FinalLayer
from ledlocal.methods.method import METHODS, Step
from ledlocal.models import DEMO
from ledlocal.runtime.llama import Model
from ledlocal.runtime.plan import params_of
from ledlocal.values.errors import BadInput, EngineDied, LedlocalError, OutOfResources, TapRefused
from ledlocal.values.params import EngineOptions, Sampling, TapName


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli.main, ["bench", *args], prog_name="ledlocal")


# what is measured

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
    assert found["model"]["vocabulary"] == 882 and found["machine"]["threads"] == 1
    assert {"batch", "phase", "method", "tap", "explore_rate", "tokens_per_s", "spread", "ratio_to_standard",
            "ratio_to_bare"} <= set(rows[0]) and {"model", "machine", "memory"} <= set(found)
    memory = found["memory"]
    assert set(memory["peak_bytes"]) == {"bare", "standard", "led"}
    assert min(memory["peak_bytes"].values()) > 10 << 20
    assert set(memory["measured_bytes"]) == set(memory["planned_bytes"]) == {"host"}  # on a machine without a GPU
    # it holds the interpreter and libraries, too, and so is above the plan and above one contender alone
    assert memory["planned_bytes"]["host"] < max(memory["peak_bytes"].values()) <= memory["measured_bytes"]["host"]
    assert len(found["runs"]) == 2 * 2 * (6 + 4)


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
              "os.write(int(sys.argv[1]), b'{\"event\": \"loaded\", \"depth\": 1}\\n{\"eve')\n"
              "os.kill(os.getpid(), signal.SIGKILL)")
    events = measure(plan(), (sys.executable, "-c", script))
    assert next(events) == {"event": "loaded", "depth": 1}
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


def test_a_reader_that_leaves_ends_it_quietly_and_the_file_is_whole(tmp_path: Path) -> None:
    kept = tmp_path / "bench.json"
    with start("bench", "--batch", "1", "-r", "1", "-n", "2", "-p", "0", "-t", "1", "--methods", "standard", "--out",
               str(kept)) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(60) == 141 and all(line.startswith("note: ") for line in said.splitlines()), said
    assert json.loads(kept.read_text())["complete"] is True


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
