"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


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
