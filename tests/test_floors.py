"""Imports only go down: looked up in fresh interpreters and in the source."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(p for folder in ("ledlocal", "tui") for p in (ROOT / folder).rglob("*.py"))

FLOORS = ("values", "statistics", "methods", "runtime", "engine", "worker")
PRODUCT = len(FLOORS)
SCREENS = ("ledlocal.commands.eval", "ledlocal.commands.report", "ledlocal.commands.trace", "ledlocal.commands.tui")
"""Commands that open the terminal UI."""
LIBRARIES = ("click", "gguf", "huggingface_hub", "jinja2", "llama_cpp", "markdown_it", "math_verify", "matplotlib",
             "numpy", "pebble", "platformdirs", "plotext", "prompt_toolkit", "reasoning_gym", "rich", "textual",
             "wcwidth")
HOMES = {
    "click": ("ledlocal.cli", "ledlocal.commands"),
    "rich": ("ledlocal.commands", "ledlocal.evals.live_table", "ledlocal_tui"),
    "prompt_toolkit": ("ledlocal.line_editor",),
    "wcwidth": ("ledlocal.evals.plot_text", "ledlocal.wrap"),
    "textual": ("ledlocal_tui",),
    "llama_cpp": ("ledlocal.runtime.library",),
    "gguf": ("ledlocal.runtime",),
    "jinja2": ("ledlocal.runtime",),
    "huggingface_hub": ("ledlocal.stores",),
    "markdown_it": ("ledlocal.evals.report",),
    "math_verify": ("ledlocal.evals",),
    "matplotlib": ("ledlocal.evals.plot", "ledlocal.lens_plot"),
    "plotext": ("ledlocal.evals.plot_text",),
    "pebble": ("ledlocal.evals",),
    "reasoning_gym": ("ledlocal.evals",),
}
"""Where a library may be imported, other modules never."""


def module_of(source: Path) -> str:
    parts = source.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "tui":
        parts = ("ledlocal_tui", *parts[1:])
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(source): source for source in SOURCES}


def floor(module: str) -> int:
    first, _, rest = module.partition(".")
    part = rest.partition(".")[0]
    return FLOORS.index(part) if first == "ledlocal" and part in FLOORS else PRODUCT


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@cache
def imports(module: str) -> frozenset[str]:
    """Absolute names of everything that a module imports, anywhere in its source; `from a import b` gives a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            assert node.module is not None
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def loaded_by(code: str) -> set[str]:
    """Third-party libraries that a fresh interpreter holds after `code`."""
    report = f"\nimport sys, json\nprint(json.dumps([n for n in {LIBRARIES!r} if n in sys.modules]))"
    done = subprocess.run([sys.executable, "-P", "-c", code + report], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def modules_in(package: str) -> list[str]:
    return [m for m in MODULES if within(m, package)]


def test_the_modules_are_found() -> None:
    assert {"ledlocal.values.params", "ledlocal.worker.client", "ledlocal.cli", "ledlocal_tui"} <= set(MODULES)
    assert "llama_cpp.llama_cpp" in imports("ledlocal.runtime.library")


@pytest.mark.parametrize("module", MODULES)
def test_imports_only_go_down(module: str) -> None:
    for name in imports(module) - {"ledlocal.__version__"}:
        if not within(name, "ledlocal"):
            continue
        if module == "ledlocal":
            assert within(name, "ledlocal.engine"), f"{module} imports {name}"
        elif name != "ledlocal":
            assert floor(name) <= floor(module), f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES)
def test_libraries_stay_in_their_homes(module: str) -> None:
    for name in imports(module):
        top = name.partition(".")[0]
        if top in HOMES:
            assert any(within(module, home) for home in HOMES[top]), f"{module} imports {name}"
        if top == "platformdirs":
            assert floor(module) == PRODUCT or module == "ledlocal.runtime.install", f"{module} imports {name}"
        assert top in (*LIBRARIES, "ledlocal", "ledlocal_tui") or top in sys.stdlib_module_names, f"{module}: {name}"


@pytest.mark.parametrize("module", MODULES)
def test_the_terminal_ui_is_on_top(module: str) -> None:
    for name in imports(module):
        assert not within(name, "tui"), f"{module} imports {name}"
        if within(name, "ledlocal_tui"):
            assert within(module, "ledlocal_tui") or module in SCREENS, f"{module} imports {name}"


@pytest.mark.parametrize("module", modules_in("ledlocal.worker"))
def test_only_the_worker_process_sees_the_engine(module: str) -> None:
    below = {name for name in imports(module) if within(name, "ledlocal") and floor(name) in (1, 2, 3)}
    assert not below or (module == "ledlocal.worker.server" and all(within(b, "ledlocal.engine") for b in below))


@pytest.mark.parametrize(("package", "allowed"), [
    ("ledlocal.values", set()),
    ("ledlocal.methods", {"numpy"}),
    ("ledlocal.runtime", {"numpy", "llama_cpp", "gguf", "jinja2", "platformdirs"}),
    ("ledlocal.engine", {"numpy", "llama_cpp", "gguf", "jinja2", "platformdirs"}),
    ("ledlocal.worker", set()),
    ("ledlocal.cli", {"click"}),
    ("ledlocal.commands", {"click", "platformdirs"}),
    ("ledlocal.line_editor", {"click", "platformdirs", "plotext", "prompt_toolkit", "wcwidth"}),
    ("ledlocal.chat", {"platformdirs", "wcwidth"}),
    ("ledlocal.terminal", set()),
    ("ledlocal.models", set()),
    ("ledlocal.evals.gym", set()),
    ("ledlocal.digest", {"platformdirs"}),
])
def test_a_floor_loads_only_its_libraries(package: str, allowed: set[str]) -> None:
    modules = modules_in(package)
    assert modules, f"{package} has no modules"
    loaded = loaded_by("\n".join(f"import {m}" for m in modules if not m.endswith("__main__")))
    assert loaded <= allowed


def test_the_values_need_the_standard_library_only() -> None:
    code = "\n".join(f"import {m}" for m in modules_in("ledlocal.values"))
    report = "\nimport sys\nprint(*{n.partition('.')[0] for n in set(sys.modules) - before})"
    done = subprocess.run([sys.executable, "-P", "-c", f"import sys; before = set(sys.modules)\n{code}{report}"],
                          capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= set(sys.stdlib_module_names) | {"ledlocal"}


def test_help_is_light() -> None:
    code = """
import sys
sys.argv = ["ledlocal", "--help"]
from ledlocal.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
"""
    assert loaded_by(code) <= {"click"}


def test_no_module_named_tui_is_installed() -> None:
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('tui') is not None)"
    assert subprocess.run([sys.executable, "-P", "-c", code], cwd="/", check=False).returncode == 0
