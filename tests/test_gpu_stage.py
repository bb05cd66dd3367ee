"""benchmarks/gpu/stage.sh evaluate: its clock, shards that fail, going on. With a ledlocal that only pretends."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

STAGE = Path(__file__).parent.parent / "benchmarks" / "gpu" / "stage.sh"
PRETENDER = """#!/bin/sh
case $1 in
eval)
    shift; shard=$3 out=$5  # TASK --shard I/N --out DIR -t 1
    mkdir -p "$out"
    echo "$shard" >> "$out/asked"
    case $shard in $SLOW) [ -e "$out/second" ] || { touch "$out/second"; exec sleep 60; };; esac
    case $shard in $BROKEN) echo "no such model"; exit 2;; esac
    echo done
    ;;
merge) shift; mkdir "$1" && cat "$2/asked" "$3/asked" > "$1/run.toml" ;;
compare) echo "compared" ;;
esac
"""

pytestmark = pytest.mark.skipif(not all(map(shutil.which, ("bash", "timeout", "xz", "g++"))),
                                reason="needs bash, timeout, xz and g++")


def evaluate(folder: Path, work: str = "work", **environ: str) -> tuple[int, str, Path]:
    """Exit code, what it said, and $OUT."""
    out = folder / f"out-{len(list(folder.iterdir()))}"
    out.mkdir()
    pretender = folder / "bin" / "ledlocal"
    if not pretender.exists():
        pretender.parent.mkdir()
        pretender.write_text(PRETENDER)
        pretender.chmod(0o755)
    done = subprocess.run(
        ["bash", str(STAGE), "evaluate", "demo", "puzzle"], capture_output=True, text=True, timeout=50,
        env={**os.environ, "PATH": f"{pretender.parent}:{os.environ['PATH']}", "OUT": str(out), "CUDA": "off",
             "WORK": str(folder / work), "SHARDS": "2", "SLOW": "none", "BROKEN": "none", **environ})
    return done.returncode, done.stdout + done.stderr, out


def kept(out: Path) -> list[str]:
    """Names in the run that was packed."""
    return subprocess.run(f"cat {out}/run-demo.* | tar -tJ", shell=True, check=True, capture_output=True,
                          text=True).stdout.split()


def test_all_shards_done_are_merged_and_compared(tmp_path: Path) -> None:
    code, said, out = evaluate(tmp_path)
    assert code == 0, said
    assert (out / "compare-demo.txt").read_text() == "compared\n"
    assert kept(out) == ["demo/", "demo/run.toml"]
    assert (tmp_path / "work/runs/demo/run.toml").read_text() == "1/2\n2/2\n"
    code, said, out = evaluate(tmp_path)  # again: nothing is asked anew
    assert code == 0 and kept(out) == ["demo/", "demo/run.toml"], said
    assert (tmp_path / "work/runs/demo-1/asked").read_text() == "1/2\n"


def test_a_shard_that_failed_is_named_and_nothing_is_merged(tmp_path: Path) -> None:
    code, said, out = evaluate(tmp_path, BROKEN="2/2")
    assert code == 1 and "demo-2: exit 2: no such model" in said and "failed: demo-2" in said
    assert "demo-1/asked" in kept(out) and not (tmp_path / "work/runs/demo").exists()


def test_the_clock_ends_it_and_the_same_command_goes_on_elsewhere(tmp_path: Path) -> None:
    began = time.monotonic()
    code, said, out = evaluate(tmp_path, SLOW="1/2", LIMIT="4")
    assert time.monotonic() - began < 20
    assert code == 4 and "not done: demo-1; the same command goes on" in said
    assert {"demo-1/asked", "demo-2/asked"} <= set(kept(out)) and not (tmp_path / "work/runs/demo").exists()
    code, said, _ = evaluate(tmp_path, SLOW="1/2")
    assert code == 0, said
    assert (tmp_path / "work/runs/demo/run.toml").read_text() == "1/2\n1/2\n2/2\n2/2\n"
