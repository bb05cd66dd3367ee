"""An evaluation on a whole screen in a real terminal, on the demo model: watched, steered, left, gone on with."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from real_command import run
from tmux import Tmux

from ledlocal.evals.run_folder import SAMPLES, Sample, read_records

pytestmark = pytest.mark.slow
ASKED = ("--limit", "4", "-n", "20", "--batch", "4", "-t", "1", "--max-tokens", "150")


def watched(out: Path, home: Path, columns: int = 110, lines: int = 30) -> Tmux:
    return Tmux(f"{sys.executable} -P -m ledlocal eval demo --out {out} {' '.join(ASKED)} --tui", columns, lines, home)


def test_a_run_is_watched_left_and_gone_on_with(tmp_path: Path) -> None:
    """The user leaves; the same command goes on, and a sample is cancelled; a third time it asks for that; no number
    differs."""
    out = tmp_path / "run"
    with closing(watched(out, tmp_path)) as tmux:
        tmux.wait_for("under way")
        tmux.type("2")
        tmux.wait_for("thinking")
        tmux.type("q")
        shown = tmux.wait_for("left with 130")
        assert "the same command goes on" in shown and "ledlocal: interrupted" in shown and "Problems" not in shown
    assert len(read_records(out / SAMPLES, Sample)) < 240
    with closing(watched(out, tmp_path)) as tmux:
        tmux.wait_for("under way")
        tmux.type("2")
        tmux.wait_for("thinking")
        while "cancelled:" not in (shown := tmux.screen()):  # a sample may end before the key is read
            assert "the run is" not in shown
            tmux.type("x")
            time.sleep(0.3)
        tmux.wait_for("the run is not complete")
        tmux.type("6")
        tmux.wait_for("cancelled; the same command asks again")
        tmux.type("q")
        tmux.wait_for("left with 0")
    assert 0 < len(read_records(out / SAMPLES, Sample)) < 240
    with closing(watched(out, tmp_path, 80, 24)) as tmux:
        tmux.wait_for("the run is complete")
        tmux.type("4")
        tmux.wait_for("pass@k over k")
        tmux.type("5")
        tmux.wait_for("4 problems of puzzle")
        tmux.type("q")
        tmux.wait_for("left with 0")
    whole = tmp_path / "whole"
    assert run("eval", "demo", "--out", str(whole), *ASKED, limit_s=240).code == 0
    assert (out / "summary.json").read_bytes() == (whole / "summary.json").read_bytes()
    assert read_records(out / SAMPLES, Sample) == read_records(whole / SAMPLES, Sample)


def test_a_whole_screen_needs_a_terminal(tmp_path: Path) -> None:
    done = run("eval", "demo", "--tui", "--out", str(tmp_path / "run"))
    assert done.code == 2 and "a terminal that can be drawn on is needed" in done.said[-1]
    assert not (tmp_path / "run").exists()
    done = run("eval", "demo", "--tui", "--dry-run")
    assert done.code == 2 and "--dry-run" in done.said[-1]
