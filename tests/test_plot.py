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
TICKS = (1, 2, 4)


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


def named(axes: Any) -> list[Any]:
    """The lines that the legend shows."""
    return [line for line in axes.lines if not line.get_label().startswith("_")]


def test_curves_and_bands_are_the_summary() -> None:
    plan, cells = run()
    panels = figures(plan, cells)["pass-at-k-puzzle"].axes
    assert [axes.get_title() for axes in panels] == ["temperature 0.6", "temperature 1"]
    for i, axes in enumerate(panels):
        mine, curves = cells[3 * i:3 * i + 3], named(axes)
        assert [line.get_label() for line in curves] == list(METHODS)
        assert len({(line.get_color(), line.get_marker(), str(line._dash_pattern)) for line in curves}) == 3
        for line, band, one in zip(curves, axes.collections, mine, strict=True):
            assert_allclose(line.get_xdata(), range(1, N + 1))
            assert_allclose(line.get_ydata(), column(one, "value"))
            drawn = {tuple(point) for point in band.get_paths()[0].vertices.round(9)}
            assert {(k, round(column(one, name)[k - 1], 9)) for name in ("low", "high") for k in TICKS} == drawn


def test_many_curves_have_bars_instead_of_bands() -> None:
    names = [f"led:d={d}" for d in range(2, 10)]
    plan, cells = run((0.6,), correct=dict.fromkeys(names, CORRECT["led"]))
    axes, = figures(plan, cells)["pass-at-k-puzzle"].axes
    curves = named(axes)
    assert [line.get_label() for line in curves] == names
    for line, bars, one in zip(curves, axes.containers, cells, strict=True):
        assert_allclose(line.get_ydata(), column(one, "value"))
        segments = bars[2][0].get_segments()
        assert_allclose([segment[0, 0] for segment in segments], [line.get_xdata()[k - 1] for k in TICKS])
        assert_allclose([segment[:, 1] for segment in segments],
                        [[column(one, name)[k - 1] for name in ("low", "high")] for k in TICKS])
    first, last = curves[0].get_xdata(), curves[-1].get_xdata()
    assert first[0] < 1 < last[0] and last[0] < first[1], "no bar covers another"
    assert {type(one).__name__ for one in axes.collections} == {"LineCollection"}


def test_no_two_methods_look_alike() -> None:
    _, cells = run((0.6,), correct={f"led:d={d}": "1000" for d in range(1, 25)})
    styles = list(plot._styles(cells).values())
    for i, one in enumerate(styles):
        for other in styles[:i]:
            assert one["color"] != other["color"] or not any(one[key] == other[key] for key in ("marker", "linestyle"))


@pytest.mark.parametrize("kind", ["pass-at-k", "temperature", "length"])
def test_no_letter_is_clipped(kind: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    task, method = "gym:" + "a_long_name_" * 9, "led:" + ",".join(["answer.top-p=0.95"] * 6)
    plan, cells = run((0.6, 1.0), task, {"standard": "1000 1100", method: "1010 1110", "control:k=4": "1000 0000"})
    figure = next(one for name, one in plot._figures(plan, cells) if name.startswith(kind))
    FigureCanvasAgg(figure).draw()
    texts = [figure._suptitle, *figure.legends[0].get_texts(),
             *(title for axes in figure.axes for title in (axes.title, axes._left_title))]
    assert "".join(texts[0].get_text().split("\n"))[:len(task)] == task
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text


def test_without_grades_there_are_lengths_alone(tmp_path: Path) -> None:
    plan, cells = run(task="livecodebench", correct={"standard": "---- ----", "led": "---- ----"})
    assert {path.stem for path in plot.draw(plan, cells, tmp_path)} == {"length-livecodebench"}
    text = "\n".join(plot_text.terminal(plan, cells, 80))
    assert text.startswith("livecodebench: thinking tokens") and "pass@" not in text
    plan, cells = run(correct={"standard": " ", "led": " "})
    assert plot.draw(plan, cells, tmp_path) == plot_text.terminal(plan, cells, 80) == [], "and without samples nothing"


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
        for i, (line, bars) in enumerate(zip(named(axes), axes.containers, strict=True)):
            mine = cells[i::3]
            assert line.get_label() == METHODS[i]
            assert_allclose(line.get_ydata(), [column(one, "value")[k - 1] for one in mine])
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
        assert {bar.get_x() for bar in cut if bar.get_height()} == {78}  # 80 tokens, the last bin of 3
        assert {bar.get_x() for bar in whole if bar.get_height()} == {9, 18, 39}


def test_the_same_run_gives_the_same_files(tmp_path: Path) -> None:
    plan, cells = run(task="gym:a/b")
    first, second = plot.draw(plan, cells, tmp_path / "new" / "one"), plot.draw(plan, cells, tmp_path / "two")
    names = [f"{kind}-gym-a-b.{suffix}" for kind in ("pass-at-k", "temperature", "length") for suffix in ("svg", "png")]
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
    {"standard": "1000", "led": " "},
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


@pytest.mark.parametrize("width", [1, 10, 24, 40, 60, 80, 120, 200])
def test_a_terminal_gets_plain_text_within_its_width(width: int) -> None:
    lines = plot_text.terminal(*run(), width)
    assert lines and max(map(len, lines)) <= width
    text = "".join(lines)
    assert text.isprintable(), "an escape sequence"
    if width >= 24:
        assert all(text.count(f"{letter} {method}") == 5 for letter, method in zip("ox+", METHODS, strict=True))
    if width >= 60:
        curves = [*(f"puzzle, temperature {t}: pass@k over k" for t in ("0.6", "1")),
                  *(f"puzzle: pass@{k} over temperature" for k in (1, N))]
        assert [line for line in lines if line.startswith("puzzle")] == [
            *(f"{title}, 95 % intervals" for title in curves), "puzzle: thinking tokens, 3 to a bar, █ = 5 samples"]


def bars_in(lines: list[str], count: int) -> tuple[list[list[tuple[str, float, float, float]]], float]:
    """Of the first plot in `lines`: at each tick `count` methods' letters with low, value and high; what a line is."""
    top = next(i for i, line in enumerate(lines) if "┌" in line)
    bottom = next(i for i, line in enumerate(lines) if "└" in line)
    left, body = lines[top].index("┌"), lines[top + 1:bottom]
    levels = {i: int(line[:left].strip(" %")) / 100 for i, line in enumerate(body) if line[left] == "┤"}
    (i, above), (j, below) = min(levels.items()), max(levels.items())
    row = (above - below) / (j - i)
    found = []
    for tick in [place for place, mark in enumerate(lines[bottom]) if mark == "┬"]:
        columns = ["".join(line[tick - count // 2 + m] for line in body) for m in range(count)]
        spans = [(len(column) - len(column.lstrip()), len(column.rstrip()) - 1) for column in columns]
        found.append([(letter, *(above - row * (at - i) for at in (low, column.index(letter), high)))
                      for column, (high, low) in zip(columns, spans, strict=True)
                      for letter in [column.strip(" │┬┴")]])
    return found, row


@pytest.mark.parametrize("width", [60, 80, 120])
def test_intervals_on_a_terminal_are_the_summary(width: int) -> None:
    plan, cells = run()
    lines = plot_text.terminal(plan, cells, width)
    starts = [i for i, line in enumerate(lines) if line.startswith("puzzle")]
    expected = [[(cells[:3], k) for k in TICKS], [(cells[3:], k) for k in TICKS],
                [(cells[:3], 1), (cells[3:], 1)], [(cells[:3], N), (cells[3:], N)]]
    for start, ticks in zip(starts, expected, strict=False):
        found, row = bars_in(lines[start:], 3)
        for drawn, (mine, k) in zip(found, ticks, strict=True):
            assert [letter for letter, *_ in drawn] == ["o", "x", "+"]
            assert_allclose([numbers for _, *numbers in drawn],
                            [[column(one, name)[k - 1] for name in ("low", "value", "high")] for one in mine],
                            atol=row / 2 + 1e-9)


def test_without_room_for_all_intervals_there_are_some_or_none() -> None:
    plan, cells = run((0.6,), correct={f"led:d={d}": "1000 1100" for d in range(1, 14)})
    few, none = (plot_text.terminal(plan, cells, width) for width in (40, 24))
    assert few[0] + few[1] == "puzzle, temperature 0.6: pass@k over k,95 % intervals"
    assert sum(line.count("┴") for line in few if "└" not in line) == 2 * 13
    assert "intervals" not in "".join(none) and "┴" not in "".join(none)


def test_lengths_on_a_terminal_are_the_samples() -> None:
    lines = plot_text.terminal(*run((0.6,), correct={"standard": "1000 1100 1111", "led": "1000"}), 60)
    # 27 bins of 3 tokens: lengths of 10, 20, 40 and 80; three samples of each fill a block, one is a third of it
    assert lines[-4:-1] == ["T=0.6 o │   █  █      █            █│   3", "T=0.6 x │   ▃  ▃      ▃            ▃│   1",
                            "         0                        81  cut"]


def test_curves_that_coincide_are_all_seen_on_a_terminal() -> None:
    lines = plot_text.terminal(*run((0.6,), correct=dict.fromkeys(METHODS, "1000 1100 0000")), 70)
    within = "".join(line[4:] for line in lines[1:next(i for i, line in enumerate(lines) if "└" in line)])
    assert sorted(map(within.count, "ox+")) == [19, 19, 20]


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
