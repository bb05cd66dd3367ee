"""Fixtures that several test files share."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from ledlocal.runtime.install import OVERRIDE, chosen_folder

collect_ignore_glob = [] if find_spec("torch") else ["test_demo_*.py"]
"""Without the extra `train`; `make test-demo` has it."""
OURS = ("LEDLOCAL_SDIST_DIR", "LEDLOCAL_TEST_NATIVE", OVERRIDE)
os.environ[OVERRIDE] = str(chosen_folder())  # for processes that look for it in a home of their own


@pytest.fixture(scope="session")
def sdist() -> Path:
    """The unpacked source distribution of llama-cpp-python, which holds llama.cpp's templates and vocabularies."""
    folder = os.environ.get("LEDLOCAL_SDIST_DIR")
    if not folder:
        pytest.fail("LEDLOCAL_SDIST_DIR is not set: it names the unpacked llama-cpp-python sdist (make test does it)")
    path = Path(folder)
    if not (path / "vendor" / "llama.cpp").is_dir():
        pytest.fail(f"LEDLOCAL_SDIST_DIR={folder} has no vendor/llama.cpp")
    return path


@pytest.fixture(autouse=True)
def private_folders(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of the user who runs the tests is read or written."""
    home = tmp_path_factory.mktemp("home", numbered=True)
    for name in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    for name in [name for name in os.environ if name.startswith("LEDLOCAL_") and name not in OURS]:
        monkeypatch.delenv(name)
