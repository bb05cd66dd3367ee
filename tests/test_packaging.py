"""What a user gets: the wheel, the dependencies, and a README that shows where everything lies."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from ledlocal.runtime import ggml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def tracked() -> list[Path]:
    """Files of the repository, relative to it: those that git does not ignore."""
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT,
                            check=True, capture_output=True, text=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


def packages() -> set[str]:
    """Package folders of the two distributions' source trees."""
    return {path.parent.as_posix() for path in tracked() if path.name == "__init__.py"
            and path.parts[0] in ("ledlocal", "tui")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names in the wheel, built from a copy and without a network."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for path in tracked():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, copy / path)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", out, "."],
        cwd=copy, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    archive, = out.glob("*.whl")
    with zipfile.ZipFile(archive) as opened:
        return opened.namelist()


def test_wheel_holds_model_and_markers(wheel: list[str]) -> None:
    assert {"ledlocal/demo/countdown-rl-f16.gguf", "ledlocal/py.typed", "ledlocal_tui/__init__.py",
            "ledlocal_tui/py.typed"} <= set(wheel)


def test_wheel_takes_no_foreign_name(wheel: list[str]) -> None:
    top = {name.split("/")[0] for name in wheel}
    assert {name for name in top if not name.endswith(".dist-info")} == {"ledlocal", "ledlocal_tui"}


def test_wheel_holds_every_module(wheel: list[str]) -> None:
    assert {"ledlocal", "tui", "ledlocal/runtime/taps"} <= packages()
    sources = {re.sub("^tui/", "ledlocal_tui/", path.as_posix()) for path in tracked()
               if path.suffix in (".py", ".tcss") and path.parts[0] in ("ledlocal", "tui")}
    assert sources <= set(wheel), f"not in the wheel: {sorted(sources - set(wheel))}"


def test_every_dependency_says_why() -> None:
    lines = [line.strip() for line in (ROOT / "pyproject.toml").read_text().splitlines()]
    for dependency in PROJECT["dependencies"]:
        assert lines[lines.index(f'"{dependency}",') - 1].startswith("# "), dependency


def test_engine_is_pinned_once_for_all() -> None:
    engine, = (name for name in PROJECT["dependencies"] if name.startswith("llama-cpp-python"))
    assert engine == f"llama-cpp-python=={ggml.PINNED}"
    base = dict(line.split(maxsplit=1) for line in (ROOT / "patches" / "BASE").read_text().splitlines())
    assert base["sdist"] == f"llama_cpp_python-{ggml.PINNED}"


def test_nobody_imports_the_folder_name_of_the_terminal_interface() -> None:
    for path in tracked():
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else (
                [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else [])
            assert not any(name.split(".")[0] == "tui" for name in names), f"{path} imports tui, not ledlocal_tui"


def test_readme_shows_every_folder() -> None:
    readme = (ROOT / "README.md").read_text()
    top = {path.parts[0] for path in tracked() if len(path.parts) > 1 and not path.parts[0].startswith(".")}
    missing = [name for name in sorted(top | {Path(package).name for package in packages()})
               if not re.search(rf"(?<![\w-]){re.escape(name)}/", readme)]
    assert not missing, f"README.md does not show {', '.join(missing)}"


def test_readme_commands_exist() -> None:
    blocks = re.findall(r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    commands = [line.removeprefix("$ ").split() for block in blocks for line in block.splitlines()]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    used = [words[1] for words in commands if words[:1] == ["make"] and len(words) > 1]
    assert used, "README.md shows no make target"
    assert set(used) <= set(targets)
    from ledlocal.cli import COMMANDS
    subcommands = {words[1] for words in commands if words[:1] == ["ledlocal"] and len(words) > 1
                   and not words[1].startswith("-")}
    assert subcommands == set(COMMANDS)
