"""`ledlocal eval` as a user runs it: real processes, killed for real, on the demo model."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree

import pytest
from real_command import refused, run
from worker_processes import linux

from ledlocal.evals.arm import Arm
from ledlocal.evals.plan import plan_of
from ledlocal.evals.puzzle import Puzzle
from ledlocal.evals.run import read_cells

LIMIT_S = 240.0
SMALL = ("--limit", "3", "-n", "2", "--max-tokens", "60", "-t", "1")


def evaluate(out: Path, *args: str, code: int = 0) -> str:
    done = run("eval", "demo", "--out", str(out), *args, limit_s=LIMIT_S)
    assert done.code == code, done
    return done.out if code == 0 else done.said[-1]


def same(folder: Path, other: Path) -> None:
    """What must not depend on how a run came about."""
    for name in ("samples.jsonl", "scores.jsonl"):
        assert sorted((folder / name).read_text().splitlines()) == sorted((other / name).read_text().splitlines()), name
    assert (folder / "summary.json").read_bytes() == (other / "summary.json").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    evaluate(folder, *SMALL)
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for i in (1, 2):
        evaluate(folder / str(i), *SMALL, "--shard", f"{i}/2")
    return folder


def test_methods_are_compared_side_by_side(whole: Path) -> None:
    _, cells = read_cells(whole)
    assert [cell.arm for cell in cells] == [Arm("standard", 0.6), Arm("led", 0.6, "control"), Arm("control", 0.6)]
    assert all(len(row) == 2 for cell in cells for row in cell.samples)
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["complete"] and [row["samples"] for row in summary["rows"]] == [6, 6, 6]
    standard, led, control = cells
    assert all(sample.explored == 0 for cell in (standard, control) for row in cell.samples for sample in row)
    assert sum(sample.explored for row in led.samples for sample in row) > 0
    assert summary["rows"][1]["explored_share"] == sum(s.explored for row in led.samples for s in row) / sum(
        s.thinking_tokens for row in led.samples for s in row)
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["arms"]["led @ 0.6"]["thinking"]["led"]["d"] == 8
    assert (manifest["engine"]["reproducible"], manifest["repeatable"]) == (True, "bit for bit")
    assert len(manifest["model"]["sha256"]) == len(manifest["data"]["puzzle"]) == 64


def test_random_numbers_are_common(whole: Path) -> None:
    """Where nothing was explored differently, led and its control said the same."""
    _, (_, led, control) = read_cells(whole)
    pairs = [(a, b) for mine, theirs in zip(led.samples, control.samples, strict=True)
             for a, b in zip(mine, theirs, strict=True)]
    same = [(a, b) for a, b in pairs if not a.changed]
    assert same and all((a.thinking, a.answer) == (b.thinking, b.answer) for a, b in same)


def test_the_same_command_again_changes_nothing(whole: Path) -> None:
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    evaluate(whole, *SMALL)
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before


def test_what_was_changed_is_refused_by_name(whole: Path, tmp_path: Path) -> None:
    done = run("eval", "demo", "--out", str(whole), *SMALL, "--seed", "1", limit_s=LIMIT_S)
    assert "run.toml: seed is 0 there, and 1 now" in done.said[-1] and done.code == 2
    manifest = whole / "manifest.json"
    kept = manifest.read_text()
    try:
        for path, missing in ((("model", "sha256"), False), (("data", "puzzle"), False), (("tap",), True),
                              (("build", "features"), True), (("arms", "led @ 0.6", "thinking", "led", "d"), True)):
            changed = json.loads(kept)
            at = changed
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = "other"
            manifest.write_text(json.dumps(changed))
            if missing:  # then the model is started
                (whole / "samples.jsonl").rename(tmp_path / "samples.jsonl")
            line = evaluate(whole, *SMALL, code=2)
            assert f'manifest.json: {".".join(path)} is "other" there, and ' in line
            if missing:
                (tmp_path / "samples.jsonl").rename(whole / "samples.jsonl")
    finally:
        manifest.write_text(kept)


def test_what_the_machine_chose_is_kept_and_another_wish_is_refused(whole: Path) -> None:
    for flag, key in (("-t", "threads"), ("-c", "context"), ("--batch", "slots")):
        line = evaluate(whole, *(SMALL[:-2] if flag == "-t" else SMALL), flag, "300", code=2)
        assert f"manifest.json: engine.{key} is " in line and line.endswith("the same command again")
    evaluate(whole, *SMALL[:-2])  # no wish


@pytest.mark.parametrize(("args", "name"), [
    (["-ctk", "q8_0"], "cache_type_k"), (["--tap", "reference"], "tap"), (["-fa", "off"], "flash_attention"),
    (["--think-tags", "a,b"], "think_tags"), (["--chat-template-file", "t.jinja"], "chat_template_sha256")])
def test_a_finished_run_is_not_the_answer_to_another_question(whole: Path, tmp_path: Path, args: list[str],
                                                              name: str) -> None:
    (tmp_path / "t.jinja").write_text("{{ messages[0].content }}")
    line = evaluate(whole, *SMALL, *(str(tmp_path / arg) if arg.endswith("jinja") else arg for arg in args), code=2)
    assert f"manifest.json: engine.{name} is " in line


def test_questions_that_were_changed_afterwards_are_noticed(whole: Path) -> None:
    path = whole / "problems.jsonl"
    kept = path.read_text()
    path.write_text(kept.replace("make", "reach", 1))
    try:
        assert "problems.jsonl does not hold the questions that manifest.json tells of" in evaluate(
            whole, *SMALL, code=2)
    finally:
        path.write_text(kept)


def test_a_depth_without_layers_is_refused(tmp_path: Path) -> None:
    line = evaluate(tmp_path / "run", *SMALL, "--methods", "led:d=99", code=2)
    assert "method led:d=99: d 99 is more than this model has layers for: it is 11" in line


def test_what_it_comes_to_is_said_in_the_end(whole: Path) -> None:
    done = run("eval", "demo", "--out", str(whole), *SMALL, limit_s=LIMIT_S)
    said = " ".join(" ".join(done.said).split())
    assert "3 problems of puzzle: an interval of so few is too narrow." in said
    assert "led against its control on puzzle at temperature 0.6, pass@1: " in said
    assert f"report {whole}/report.html; ledlocal compare {whole}; ledlocal samples {whole}" in said


def test_a_report_can_be_cited(whole: Path) -> None:
    text = (whole / "report.md").read_text()
    for words in ("led, temperature 0.6, d 8, k 8, layers reference, norm False", "command | ledlocal eval demo --out",
                  "questions of puzzle | built in, SHA-256 ", "2026-01-01T00:00:00",
                  f"> {Puzzle().problems()[0].question}"):
        assert words in text.replace("\\", ""), words


def test_a_command_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its questions, or its methods, would stand in the way of the next one."""
    file, out = tmp_path / "sums.jsonl", tmp_path / "run"
    asks = ("--data", str(file), "-n", "1", "--methods", "standard", "--max-tokens", "10", "-t", "1")
    file.write_text('{"question": "1+1?", "answer": "\\\\text{}"}\n{"question": "2+2?", "answer": "4"}\n')
    evaluate(out, *asks, code=2)
    evaluate(out, "--tap", "none", *SMALL, code=2)
    assert [path.name for path in out.iterdir()] == ["lock"]
    file.write_text('{"question": "2+2?", "answer": "4"}\n')
    evaluate(out, *asks)
    asked = (out / "problems.jsonl").read_text()
    assert "2+2?" in asked and "1+1?" not in asked


def test_samples_without_a_manifest_are_not_taken(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_bytes((whole / "samples.jsonl").read_bytes())
    assert "there are samples, and no manifest.json that says what they are of" in evaluate(tmp_path, *SMALL, code=2)


def test_shards_of_different_machines_are_merged_and_it_is_said(whole: Path, shards: Path, tmp_path: Path) -> None:
    evaluate(tmp_path / "2", *SMALL[:-1], "2", "--shard", "2/2")
    assert run("merge", str(tmp_path / "both"), str(shards / "1"), str(tmp_path / "2")).code == 0
    same(tmp_path / "both", whole)
    manifest = json.loads((tmp_path / "both" / "manifest.json").read_text())
    assert manifest["repeatable"] == "up to rounding: its shards were made on different machines"


def test_shards_that_were_judged_differently_are_not_merged(shards: Path, tmp_path: Path) -> None:
    copytree(shards / "1", tmp_path / "1")
    assert run("grade", str(tmp_path / "1"), "--grading", "paper").code == 0
    done = run("merge", str(tmp_path / "both"), str(tmp_path / "1"), str(shards / "2"))
    assert refused(done, "the shards are judged by answer and paper; `ledlocal grade` makes them alike")


def test_batch_and_order_change_nothing(whole: Path, tmp_path: Path) -> None:
    evaluate(tmp_path / "run", *SMALL, "--batch", "5")
    same(tmp_path / "run", whole)


def test_shards_are_merged_to_the_same_run(whole: Path, shards: Path, tmp_path: Path) -> None:
    done = run("merge", str(tmp_path / "both"), str(shards / "2"), str(shards / "1"))
    assert done.code == 0, done
    same(tmp_path / "both", whole)
    assert plan_of(tmp_path / "both" / "run.toml") == plan_of(whole / "run.toml")
    assert refused(run("merge", str(tmp_path / "one"), str(shards / "1")), "a merge needs each of 1 ... 2 once")


def test_a_forecast_writes_nothing(tmp_path: Path) -> None:
    text = evaluate(tmp_path / "run", *SMALL, "--dry-run")
    assert "samples   18: 2 of each problem with each method" in text
    assert re.search(r"measured  4 samples side by side, of \d+ to 60 tokens: \d+ tokens in [\d.]+ s", text), text
    assert not (tmp_path / "run").exists()


def test_questions_of_ones_own(tmp_path: Path) -> None:
    """The demo model cannot solve them, and it is said soberly."""
    file = tmp_path / "sums.jsonl"
    file.write_text('{"question": "What is 2+2?", "answer": 4}\n{"question": "And 3*3?", "answer": "9"}\n')
    text = evaluate(tmp_path / "run", "--data", str(file), "-n", "2", "--methods", "standard", "--max-tokens", "40",
                    "-t", "1")
    assert "sums" in text
    [row] = json.loads((tmp_path / "run" / "summary.json").read_text())["rows"]
    assert (row["task"], row["problems"], row["samples"], row["not_graded"]) == ("sums", 2, 4, 0)


def test_a_prompt_that_does_not_fit_is_not_graded(tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps({"question": "1 + " * 2000, "answer": "4"}) + "\n")
    evaluate(tmp_path / "run", "--data", str(file), "-n", "2", "--methods", "standard", "-t", "1")
    [row] = json.loads((tmp_path / "run" / "summary.json").read_text())["rows"]
    assert (row["samples"], row["not_graded"], row["pass_at"]["1"]["value"]) == (2, 2, None)
    [score, _] = (tmp_path / "run" / "scores.jsonl").read_text().splitlines()
    assert "tokens long, and the context holds 1024" in json.loads(score)["reason"]


@pytest.mark.parametrize(("args", "words"), [
    (["--data", "puzzle=x.json"], "puzzle makes its own problems; another name is given as NAME=FILE"),
    (["--limit", "2", "--shard", "3/3"], "shard 3/3 has no problem"),
    (["--task", "nonsense"], "there is no task 'nonsense'"),
    (["--methods", "dola"], "a method must be one of standard, led, control"),
    (["--shard", "3/2"], "a shard's number must be a number from 1 to 2"),
    (["--sweep", "temp"], "--sweep takes NAME=VALUE"),
    (["--sweep", "temp=x"], "could not convert string to float"),
    (["--data", "/nowhere/x.json"], "/nowhere/x.json: No such file"),
    (["--batch", "many"], "--batch takes auto or a number"),
    (["--temp", "-1"], "temperature must be"),
])
def test_what_is_wrong_is_one_line(tmp_path: Path, args: list[str], words: str) -> None:
    done = run("eval", "demo", "--out", str(tmp_path / "run"), "-q", *args)
    assert refused(done, words)


def test_a_model_that_cannot_explore_is_refused_before_the_first_sample(tmp_path: Path) -> None:
    done = run("eval", "demo", "--out", str(tmp_path / "run"), "-q", *SMALL, "--tap", "none", limit_s=LIMIT_S)
    assert refused(done, "method led needs intermediate layers, and no tap runs")
    assert not (tmp_path / "run" / "samples.jsonl").exists() and not (tmp_path / "run" / "manifest.json").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    done = run("eval", "demo", "--out", "/proc/run", "-q", *SMALL)
    assert refused(done, "cannot write into /proc/run", code=4)


def test_a_full_disk_ends_it_and_nothing_is_lost(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    limits = "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))"
    done = run("eval", "demo", "--out", str(out), "-q", *SMALL, limits=limits, limit_s=LIMIT_S)
    assert done.code == 4 and "samples.jsonl: File too large; what was written before is kept" in done.said[-1], done
    evaluate(out, *SMALL)
    same(out, whole)


def children(pid: int) -> dict[int, str]:
    """Processes that a process has started, and their command lines."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found[int(child)] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
    return found


@dataclass
class Killer:
    """Runs the command until it is through, and kills it or its worker when some samples more are there."""

    out: Path
    args: tuple[str, ...]
    total: int
    random: random.Random = field(default_factory=lambda: random.Random(5))
    parents: int = 0
    workers: int = 0
    torn: int = 0

    def finished(self) -> int:
        path = self.out / "samples.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def go(self, kills: int) -> None:
        """Kills that landed while some samples were there and some missing, until there are as many."""
        while self.parents + self.workers + self.torn < kills:
            assert self.finished() < self.total, "through before there were enough kills"
            if self.random.random() < 0.2:
                self._tear()
            else:
                self._kill()
        evaluate(self.out, *self.args)

    def _tear(self) -> None:
        script = str(Path(__file__).parent / "torn_writes.py")
        command = [sys.executable, script, str(self.random.randint(1, 6)), "eval", "demo", "-q", "--out",
                   str(self.out), *self.args]
        done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False)
        assert done.returncode in (-signal.SIGKILL, 0), done
        self.torn += done.returncode != 0 and 0 < self.finished() < self.total

    def _kill(self) -> None:
        with subprocess.Popen([sys.executable, "-m", "ledlocal", "eval", "demo", "-q", "--out", str(self.out),
                               *self.args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                for _ in range(self.random.randint(1, 3)):
                    self._strike(process)
            finally:
                process.kill()

    def _strike(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the worker, or the command itself, a moment after the next samples."""
        before, end = self.finished(), time.monotonic() + LIMIT_S
        while self.finished() == before and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.002)
        time.sleep(self.random.random() * 0.05)
        if process.poll() is not None:
            return
        if self.random.random() < 0.5:
            process.kill()
            process.wait()
            self.parents += 0 < self.finished() < self.total
            return
        for pid, line in children(process.pid).items():
            if "ledlocal.worker" in line:
                os.kill(pid, signal.SIGKILL)
                self.workers += 0 < self.finished() < self.total


GRADUAL = ("--limit", "6", "-n", "2", "--max-tokens", "40", "-t", "1", "--batch", "2")


@linux
def test_killed_at_any_moment_it_ends_the_same(tmp_path: Path) -> None:
    evaluate(tmp_path / "whole", *GRADUAL)
    killer = Killer(tmp_path / "run", GRADUAL, 36)
    killer.go(3)
    same(tmp_path / "run", tmp_path / "whole")


@linux
@pytest.mark.slow
def test_fifty_kills_change_nothing(tmp_path: Path) -> None:
    args = ("--limit", "60", "-n", "4", "--max-tokens", "40", "-t", "1", "--batch", "4")
    evaluate(tmp_path / "whole", *args)
    killer = Killer(tmp_path / "run", args, 720)
    killer.go(50)
    assert min(killer.parents, killer.workers, killer.torn) >= 3, killer
    same(tmp_path / "run", tmp_path / "whole")
