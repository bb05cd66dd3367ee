"""What several training runs come to (extra `train`)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from demo.seeds import MEASURES, mean_of, table


def run(arm: str, seed: int, solved: float) -> dict[str, Any]:
    measured = {"pass@1": [solved, 0, 1], "pass@16": [1.0, 0, 1]}
    return {"arm": arm, "seed": seed, "T=0.6": measured, "T=1": measured, "last reward": 0.5, "last length": 80.0,
            "iterations": 20, "sampling minutes": 5.0}


def test_students_interval_by_hand() -> None:
    """t(0.975, 2) = 4.303 of every table; the deviation of 1, 2, 3 is 1."""
    found = mean_of([1.0, 2.0, 3.0])
    assert found.value == 2 and found.half == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert str(found) == "2.0 ± 2.5"
    assert mean_of([4.0]).value == 4 and math.isnan(mean_of([4.0]).half)
    assert str(mean_of([math.nan, math.nan])) == "nan ± nan"


def test_arms_are_set_against_each_other_seed_by_seed() -> None:
    """Seeds differ by far more than arms do: the difference is sharp where the means are not."""
    runs = [run("standard", seed, 0.1 * seed) for seed in (1, 2, 3)]
    runs += [run("led", seed, 0.1 * seed + 0.02) for seed in (1, 2)]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(runs).splitlines()]
    first = [*MEASURES].index("pass@1, T=0.6") + 2
    assert [row[:2] for row in rows[2:]] == [["standard", "3"], ["led", "2"], ["led - standard", "2"]]
    assert [row[first] for row in rows[2:]] == ["20.0 ± 24.8", "17.0 ± 63.5", "2.0 ± 0.0"]
    assert {len(row) for row in rows} == {len(MEASURES) + 2}
