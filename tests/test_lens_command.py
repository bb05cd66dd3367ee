"""`ledlocal lens` from the outside: table, JSON, picture, refusals."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fake_engine import LOADED, FakeEngine, finished, token

import ledlocal.commands.lens as lens_command
from ledlocal import cli
from ledlocal.lens import KS, Curves, Tally, summarize
from ledlocal.lens_report import Report
from ledlocal.models import DEMO
from ledlocal.statistics.interval import Estimate
from ledlocal.values.errors import BadInput
from ledlocal.values.events import Lens, Started
from ledlocal.values.params import EngineOptions, Request

FEW = ("lens", "demo", "-t", "1", "--limit", "3", "--max-tokens", "30")


def run(*args: str) -> Result:
    return CliRunner().invoke(cli.main, list(args), prog_name="ledlocal")


@pytest.fixture(scope="module")
def demo() -> dict[str, Any]:
    result = run(*FEW, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == 1
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_json_has_everything(demo: dict[str, Any]) -> None:
    layers = demo["model"]["layers"]
    assert demo["layers"] == list(range(1, layers + 1))
    assert len(demo["model"]["sha256"]) == 64 and demo["tap"] in ("plugin", "native")
    settings = demo["settings"]
    assert (settings["seed"], settings["thinking"]["method"], settings["thinking"]["order"]) == (0, "standard", "paper")
    assert settings["date"]
    assert demo["engine"]["lens"] is True
    assert sum(demo["p_top1"]["histogram"]) == demo["tokens"] > 50
    assert sum(demo["finishes"].values()) == demo["prompts"] == 3
    for name in ("with_norm", "without_norm"):
        for curve in (demo[name]["entropy"], *(demo[name]["coverage"][str(k)] for k in KS)):
            assert all(low <= value <= high for low, value, high in
                       zip(curve["low"], curve["value"], curve["high"], strict=True))
            assert len(curve["value"]) == layers
    top1 = demo["with_norm"]["coverage"]["1"]["value"]
    assert top1[-1] == 1.0 and top1[0] < top1[-2] < 1
    entropy = demo["with_norm"]["entropy"]["value"]
    assert 1 > entropy[0] > entropy[-1] > 0


def test_the_table_says_the_same(demo: dict[str, Any]) -> None:
    result = run(*FEW)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 79
    assert f"measured  {demo['tokens']} thinking tokens · 3 prompts · 3 replies" in result.stdout
    for title, name in (("with the model's final norm", "with_norm"), ("without the norm", "without_norm")):
        start = next(i for i, line in enumerate(lines) if line.startswith(title)) + 2
        for i, line in enumerate(lines[start:start + demo["model"]["layers"]]):
            layer, entropy, interval, *shares = line.split()
            curve = demo[name]["entropy"]
            assert (layer, entropy) == (str(i + 1), f"{curve['value'][i]:.3f}")
            assert interval == f"({curve['low'][i]:.3f}-{curve['high'][i]:.3f})"
            assert [shares[0], *shares[2:]] == [f"{demo[name]['coverage'][str(k)]['value'][i]:.3f}" for k in KS]
    above = demo["p_top1"]["above"]["share"]["value"]
    assert f"above 0.9: {above:.3f} (" in result.stdout


def test_prompts_and_settings_reach_the_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    engine = FakeEngine()
    monkeypatch.setattr(lens_command, "start_engine", engine.start)
    file = tmp_path / "prompts.txt"
    file.write_text("two\n\nthree\nfour\n")
    lens = Lens((1.0,) * 12, (0,) * 12, (1.0,) * 12, (0,) * 12)
    for _ in range(3):
        engine.enqueue([Started(1, 0, (1,), 0, 0.1), replace(token("\x1b", "answer"), lens=lens), finished("a"),
                        replace(finished("b"), sample=1, finish="length")])
    result = run("lens", str(DEMO), "-p", "one", "-f", str(file), "--limit", "3", "-n", "2", "--method", "led",
                 "--temp", "0.5", "-s", "4", "--max-tokens", "9", "-c", "77", "--phase", "answer", "--tap", "reference")
    assert result.exit_code == 0, result.stderr
    assert [one.messages[0].content for one in engine.requests if one.messages] == ["one", "two", "three"]
    assert {(one.n, one.seed, one.max_tokens, one.thinking.method, one.answer.temperature)
            for one in engine.requests} == {(2, 4, 9, "led", 0.5)}
    assert len({one.problem for one in engine.requests}) == 3
    [options] = engine.options
    assert (options.context, options.slots, options.tap, options.lens) == (77, 6, "reference", True)
    assert "3 answer tokens · 3 prompts · 6 replies, 3 of them cut short" in result.stdout
    assert engine.closed == 1


@pytest.mark.parametrize(("args", "said"), [
    ((__file__,), "--prompt TEXT, --file FILE or --task"),
    (("demo", "-f", "no-such-file"), "no-such-file"),
    (("demo", "-f", "/dev/null"), "not a regular file"),
    (("demo", "-p", " "), "empty"),
    (("demo", "--temp", "-1"), "temperature"),
    (("demo", "--limit", "0"), "--limit"),
    (("demo", "--tap", "none"), "--tap"),
    (("demo", "--phase", "dreaming"), "--phase"),
    (("demo", "-c", "3"), "context"),
    (("no-such-model.gguf", "-p", "hi"), "no-such-model.gguf"),
    (("demo", "-p", "long " * 600), "prompt 1: the prompt is"),
])
def test_bad_input_is_one_line(args: tuple[str, ...], said: str) -> None:
    result = run("lens", *args)
    notes = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert (result.exit_code, result.stdout, len(notes)) == (2, "", 1)
    assert said in notes[0]


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n \n")
    result = run("lens", "demo", "-f", str(tmp_path / "none.txt"))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "none.txt: there is no prompt in it" in result.stderr


@pytest.mark.parametrize("thinks", [False, True])
def test_no_thinking_tokens_is_said(thinks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = LOADED.model if thinks else replace(LOADED.model, think_found="none")
    engine = FakeEngine(replace(LOADED, model=facts))
    engine.enqueue([token("a", "answer"), finished("a")])
    monkeypatch.setattr(lens_command, "start_engine", engine.start)
    result = run("lens", "demo", "-p", "hi")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--phase" in result.stderr and engine.closed == 1


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("lens", "demo", "--plot", str(tmp_path / "a.png"))
    assert (result.exit_code, result.stderr) == (
        2, "ledlocal: --plot needs the extra `plot`: pip install 'ledlocal[plot]'\n")


def tally(*ranks: int) -> Tally:
    found = Tally(2)
    for rank in ranks:
        found.add(replace(token("a", "thinking"), lens=Lens((1.0, 0.5), (rank, 0), (2.0, 0.25), (8, 0))))
    return found


@pytest.fixture
def report() -> Report:
    name = "two $ signs $\\frac and 漢\x1b[31m"
    one = summarize([tally(0, 2), tally(1)], 16)
    loaded = replace(LOADED, model=replace(LOADED.model, layers=2, name=name))
    return Report(one, loaded, EngineOptions("m.gguf", lens=True), "0" * 64, "thinking", [Request(prompt="a")],
                  {"stop": 2}, 1.0)


def test_plots(report: Report, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
    from ledlocal.lens_plot import draw, require_plot

    for name, begins in (("a.png", b"\x89PNG"), ("a.SVG", b"<?xml")):
        require_plot(tmp_path / name)
        draw(report, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begins)
        with pytest.raises(BadInput, match="exists"):
            require_plot(tmp_path / name)
    for path, said in ((tmp_path / "a.pdf", r"\.svg or \.png"), (tmp_path / "no" / "a.png", "no such folder")):
        with pytest.raises(BadInput, match=said):
            require_plot(path)


def test_a_layer_without_numbers_is_in_every_view(report: Report) -> None:
    nothing = Estimate(math.nan, math.nan, math.nan)
    torn = Curves((nothing, nothing), dict.fromkeys(KS, (nothing, nothing)), (3, 0))
    torn_report = replace(report, seen=replace(report.seen, raw=torn))
    assert "layer 1: 3 tokens are left out, where its logits are not finite" in list(torn_report.lines())
    assert json.loads(torn_report.to_json())["without_norm"]["entropy"]["value"] == [None, None]
