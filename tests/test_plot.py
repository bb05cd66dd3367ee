"""Pictures of a run beside its numbers."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_allclose

from ledlocal.evals import plot, plot_text
from ledlocal.evals.arm import Arm
from ledlocal.evals.plan import Plan
from ledlocal.evals.run_folder import Sample, Score
from ledlocal.evals.summary import Cell, row_of
from ledlocal.values.errors import BadInput, OutOfResources

N = 4
METHODS = ("standard", "led", "led:k=4")
CORRECT = {"standard": "1000 1100 0000 1111 0110", "led": "1010 1110 0000 1111 1110", "led:k=4": "1000 1100 0000 11 01"}
"""Samples of each problem."""
THINKING = (10, 20, 40, 80)


@pytest.fixture(autouse=True)
def needs_the_extra() -> None:
    pytest.importorskip("matplotlib", reason="the extra `plot` is not installed")
    pytest.importorskip("plotext", reason="the extra `plot` is not installed")


def cell(method: str, temperature: float, correct: str, task: str = "puzzle") -> Cell:
    """`correct`: problems of samples; `-`: not graded. The last sample of four is cut short."""
    samples, scores = [], []
    for p, row in enumerate(correct.split()):
        keys = [(task, str(p), method, temperature, i) for i in range(len(row))]
        samples.append(tuple(Sample(*key, "length" if i == N - 1 else "stop", "", 5, THINKING[i], 3, 0, 0, (), "", "")
                             for i, key in enumerate(keys)))
        scores.append(tuple(Score(*key, "answer", None if one == "-" else one == "1", None, "")
                            for key, one in zip(keys, row, strict=True)))
    gold, questions = ("x",) * len(samples), ("q",) * len(samples)
    return Cell(task, Arm(method, temperature), tuple(samples), tuple(scores), gold, questions)


def run(temperatures: tuple[float, ...] = (0.6, 1.0), task: str = "puzzle",
        correct: dict[str, str] | None = None) -> tuple[Plan, list[Cell]]:
    found = [cell(method, temperature, row, task) for temperature in temperatures
             for method, row in (correct or CORRECT).items()]
    return Plan((task,), tuple(one.arm for one in found), N), found


def figures(plan: Plan, cells: list[Cell]) -> dict[str, Any]:
    return dict(plot._figures(plan, cells))


def column(one: Cell, name: str) -> list[float]:
    """A number of pass@1 ... pass@n, as summary.json has it."""
    found = row_of(one, N)["pass_at"]
    return [math.nan if (value := found[str(k)][name]) is None else value for k in range(1, N + 1)]


def test_curves_and_bands_are_the_summary() -> None:
    plan, cells = run()
    panels = figures(plan, cells)["pass-at-k-puzzle"].axes
    assert [axes.get_title() for axes in panels] == ["temperature 0.6", "temperature 1"]
    for i, axes in enumerate(panels):
        mine = cells[3 * i:3 * i + 3]
        curves = [line for line in axes.lines if not line.get_label().startswith("_")]
        assert [line.get_label() for line in curves] == list(METHODS)
        assert len({(line.get_color(), line.get_marker(), str(line._dash_pattern)) for line in curves}) == 3
        for line, band, one in zip(curves, axes.collections, mine, strict=True):
            assert_allclose(line.get_xdata(), range(1, N + 1))
            assert_allclose(line.get_ydata(), column(one, "value"))
            drawn = {tuple(point) for point in band.get_paths()[0].vertices.round(9)}
            assert {(k, round(y, 9)) for name in ("low", "high")
                    for k, y in enumerate(column(one, name), 1)} <= drawn


def test_a_method_with_fewer_than_k_graded_leaves_a_gap() -> None:
    plan, cells = run(correct={"standard": "1000 0100", "led": "10-- 01--"})
    axes = figures(plan, cells)["pass-at-k-puzzle"].axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert_allclose(lines["led"].get_ydata(), [0.5, 1, math.nan, math.nan])
    assert not any(math.isnan(y) for y in lines["standard"].get_ydata())
    text = "\n".join(plot_text.terminal(plan, cells, 60)[:16])
    assert max(line.rfind("x") for line in text.splitlines()) < max(line.rfind("o") for line in text.splitlines()) - 20


def test_temperatures_are_the_summary() -> None:
    plan, cells = run((0.6, 0.8, 1.0))
    panels = figures(plan, cells)["temperature-puzzle"].axes
    assert [axes.get_title() for axes in panels] == ["pass@1", "pass@4"]
    for k, axes in zip((1, N), panels, strict=True):
        for i, bars in enumerate(axes.containers):
            mine = cells[i::3]
            assert bars.get_label() == METHODS[i]
            assert_allclose(list(bars[0].get_ydata()), [column(one, "value")[k - 1] for one in mine])
            ends = [segment[:, 1] for segment in bars[2][0].get_segments()]
            assert_allclose(ends, [[column(one, name)[k - 1] for name in ("low", "high")] for one in mine])
    assert not any(name.startswith("temperature") for name in figures(*run((0.6,))))


def test_lengths_count_every_sample() -> None:
    plan, cells = run()
    panels = figures(plan, cells)["length-puzzle"].axes
    assert len(panels) == 6
    for axes, one in zip(panels, [cells[i] for i in (0, 3, 1, 4, 2, 5)], strict=True):
        assert axes.get_title(loc="left") == f"{one.arm.method}, temperature {one.arm.temperature:g}"
        whole, cut = axes.containers
        samples = [sample for row in one.samples for sample in row]
        truncated = row_of(one, N)["truncated"]
        assert sum(bar.get_height() for bar in whole) == len(samples) - truncated
        assert sum(bar.get_height() for bar in cut) == truncated > 0
        assert all(bar.get_hatch() for bar in cut)
        assert {round(bar.get_x()) for bar in cut if bar.get_height()} == {77}  # 80 tokens, the last bin


def test_the_same_run_gives_the_same_files(tmp_path: Path) -> None:
    plan, cells = run(task="gym:a/b")
    first, second = plot.draw(plan, cells, tmp_path / "new" / "one"), plot.draw(plan, cells, tmp_path / "two")
    names = [f"{kind}-gym-a-b{suffix}" for kind in ("pass-at-k", "temperature", "length")
             for suffix in (".svg", ".png")]
    assert [path.name for path in first] == names
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == sorted(names)
    for one, other in zip(first, second, strict=True):
        content = one.read_bytes()
        assert content.startswith(b"<?xml" if one.suffix == ".svg" else b"\x89PNG")
        assert content == other.read_bytes()
        one.write_bytes(b"old")
    plot.draw(plan, cells, tmp_path / "new" / "one")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_tasks_never_share_a_file(tmp_path: Path) -> None:
    _, cells = run((0.6,), "a:b")
    _, others = run((0.6,), "a-b")
    paths = plot.draw(Plan(("a:b", "a-b"), (cells[0].arm,), N), cells + others, tmp_path)
    assert len(set(paths)) == len(paths) == 8


@pytest.mark.parametrize("correct", [
    {"standard": "1 0"},
    {"standard": "- -", "led": "- -"},
    {"standard": " ", "led": " "},
    {"led:$x_1$ \x1b[31m 漢": "1000 0100", "_": "1000"},
    {f"led:k={k}": "1000 1100" for k in range(1, 14)},
])
def test_odd_runs_are_drawn(correct: dict[str, str], tmp_path: Path) -> None:
    plan, cells = run((0.6, 1.0), correct=correct)
    for path in plot.draw(plan, cells, tmp_path):
        assert path.stat().st_size > 1000
    assert "\x1b" not in "".join(plot_text.terminal(plan, cells, 80))


def test_one_sample_each_is_drawn(tmp_path: Path) -> None:
    found = [cell("standard", 0.6, "1 0 1")]
    plan = Plan(("puzzle",), (found[0].arm,), 1)
    assert len(plot.draw(plan, found, tmp_path)) == 4
    assert any("o" in line.partition("│")[2] for line in plot_text.terminal(plan, found, 60))


@pytest.mark.parametrize("width", [1, 10, 24, 40, 80, 200])
def test_a_terminal_gets_plain_text_within_its_width(width: int) -> None:
    lines = plot_text.terminal(*run(), width)
    assert lines and max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert text.replace("\n", "").isprintable(), "an escape sequence"
    if width >= 24:
        assert all(f"{letter} {method}" in text for letter, method in zip("ox+", METHODS, strict=True))
    if width >= 40:
        assert "puzzle, temperature 0.6" in text and "puzzle, temperature 1:" in text


def test_curves_that_coincide_are_all_seen_on_a_terminal() -> None:
    plan, cells = run((0.6,), correct=dict.fromkeys(METHODS, "1000 1100 0000"))
    within = [line[4:] for line in plot_text.terminal(plan, cells, 70)[2:15]]
    assert {letter: sum(line.count(letter) for line in within) for letter in "ox+"} == {"o": 22, "x": 22, "+": 21}


def test_a_full_disk_is_one_line_and_keeps_the_old_picture(tmp_path: Path) -> None:
    plan, cells = run((0.6,))
    (tmp_path / "file").write_text("old")
    with pytest.raises(OutOfResources, match=r"cannot write .*pass-at-k-puzzle\.svg: "):
        plot.draw(plan, cells, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("library", ["matplotlib", "plotext"])
def test_without_the_extra_it_is_named(library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    plan, cells = run()
    with pytest.raises(BadInput, match=r"pip install 'ledlocal\[plot\]'"):
        plot.draw(plan, cells, tmp_path) if library == "matplotlib" else plot_text.terminal(plan, cells, 80)
    assert not list(tmp_path.iterdir())
