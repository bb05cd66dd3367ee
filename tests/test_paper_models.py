"""The shapes of the paper's models through the real command, on every tap."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from paper_models import SHAPES, paper_model
from real_command import run
from tap_steps import fast_tap

pytestmark = pytest.mark.slow

LIMIT_S = 400
"""The reference projects the whole vocabulary in NumPy: 22 s where it is alone, minutes beside other tests."""


@pytest.fixture(scope="module", params=SHAPES)
def model(request: pytest.FixtureRequest, sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, paper_model(tmp_path_factory.mktemp("paper") / "m.gguf", request.param, sdist)


@pytest.mark.parametrize("tap", ["native", "plugin", "reference"])
def test_it_thinks_and_explores(model: tuple[str, Path], tap: str, tmp_path: Path) -> None:
    name, path = model
    if tap == "native":
        fast_tap(tap)
    shape = SHAPES[name]
    # One thread for the reference: spinning threads of two such tests on two cores starve each other.
    done = run("chat", str(path), "Why?", "-n", "12", "-c", "1024", "-s", "1", "--tap", tap, "--temp", "1.5", "--json",
               "--scope", "thinking" if shape.opened else "all", *(("-t", "1") if tap == "reference" else ()),
               cache=tmp_path, limit_s=LIMIT_S)
    assert done.code == 0, done
    said = json.loads(done.out)
    assert said["tap"] == tap and "cannot" not in done.err, done.err
    assert (said["model"]["architecture"], said["model"]["layers"]) == (shape.architecture, shape.layers)
    assert (said["model"]["think"]["start"], said["model"]["think"]["end"]) == ("<think>", "</think>")
    assert said["method"]["thinking"]["method"] == "led"
    assert (said["tokens"]["thinking"] > 0) == shape.opened and said["led"]["explored"] > 0, said["tokens"]
    assert len(said["led"]["depth_histogram"]) == 8
