"""What works on this machine, what does not, and the command that mends it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path, user_data_path

from ledlocal.config import Config, read_config
from ledlocal.runtime.build import Build, survey
from ledlocal.runtime.header import read_header
from ledlocal.runtime.install import OVERRIDE, PINNED, chosen_folder, library_in, native_folder, stock_folder
from ledlocal.stores.hub import cache_folder
from ledlocal.values.errors import BadInput, LedlocalError
from ledlocal.values.events import Token
from ledlocal.values.params import EngineOptions, Led, Request, Sampling, TapName
from ledlocal.worker.client import Worker

State = Literal["ok", "note", "wrong"]

TOLERANCE, QUANTIZED_TOLERANCE = 0.01, 0.06
"""Largest difference in probability between a tap and the reference, with a float output matrix and a quantized one."""
PROMPTS = 12
"""Prompts on which taps are compared."""
LITTLE_SPACE = 5 << 30
LITTLE = 64 << 20
"""Bytes; less holds hardly any model, and hardly any conversation."""
_VENDORS = {"0x10de": ("NVIDIA", "-DGGML_CUDA=on"), "0x1002": ("AMD", "-DGGML_VULKAN=on"),
            "0x8086": ("Intel", "-DGGML_VULKAN=on")}
"""PCI vendor -> name and the option that compiles llama.cpp for it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    state: State
    text: str
    mend: str = ""
    """The command or the change that mends it."""


def examine(model: Path, deep: bool, check: Callable[[Config], None], proc: Path = Path("/proc"),
            sys_folder: Path = Path("/sys")) -> Iterator[Finding]:
    """Look at everything, cheapest first.

    `deep`: also compare the taps on `model`. `check` raises BadInput about values of the configuration.
    """
    try:
        build = survey()
    except LedlocalError as error:
        mends = {stock_folder(): f"pip install --force-reinstall llama-cpp-python=={PINNED}",
                 native_folder(): "ledlocal build"}
        yield Finding("engine", "wrong", str(error), mends.get(chosen_folder(), f"{OVERRIDE}=stock"))
        return
    yield _engine(build)
    yield _library(build)
    yield _gpu(build, sys_folder, proc)
    yield from _tap(model, deep)
    yield from _folders()
    yield _configuration(check)
    yield _terminal(os.environ)


def _engine(build: Build) -> Finding:
    parts = [part.replace(" :", "").strip() for part in build.features.split("|")]
    text = f"llama-cpp-python {build.version} · {' '.join(p.removesuffix(' = 1') for p in parts if p.endswith('= 1'))}"
    if build.amx_crashes:
        return Finding("engine", "note", f"{text} · its AMX kernels crash (GCC bug 114098) and are switched off",
                       "rebuild it with GCC 12.4, 13.3 or later for faster prompts")
    return Finding("engine", "ok", text)


def _library(build: Build) -> Finding:
    """Which libllama is loaded, and whether it is the patched one that could be."""
    kind = "patched" if build.native else "installed"
    if not build.native and library_in(native_folder(), "llama") and not os.environ.get(OVERRIDE):
        return Finding("library", "wrong", f"{build.library} has no patch although it was built with it",
                       "ledlocal build")
    return Finding("library", "ok", f"{kind} · {build.library}")


def _gpu(build: Build, sys_folder: Path, proc: Path) -> Finding:
    """What llama.cpp uses, beside what the machine has."""
    used = [f"{device.description} ({device.total / 2**30:.0f} GiB)" for device in build.devices if device.gpu]
    if used:
        return Finding("gpu", "ok", ", ".join(used))
    vendors = {path.read_text().strip() for path in sys_folder.glob("class/drm/card*/device/vendor")}
    if (proc / "driver" / "nvidia" / "version").exists():
        vendors.add("0x10de")
    for vendor, (name, option) in _VENDORS.items():
        if vendor in vendors:
            return Finding("gpu", "note", f"a GPU of {name} is here, and this build of llama.cpp uses the CPU only",
                           f'CMAKE_ARGS="{option}" pip install --force-reinstall --no-cache-dir '
                           f"llama-cpp-python=={build.version}")
    return Finding("gpu", "ok", "none on this machine; the CPU does the work")


def _tap(model: Path, deep: bool) -> Iterator[Finding]:
    """Load a model: the plugin is proven against llama.cpp's own logits while it loads."""
    try:
        with Worker(_options(model, "auto")) as worker:
            tap, notices = worker.loaded.tap, worker.loaded.notices
    except LedlocalError as error:
        yield Finding("tap", "wrong", str(error))
        return
    if tap == "none":
        yield Finding("tap", "wrong", f"no intermediate layers of {model.name}: {' '.join(notices)}")
        return
    yield Finding("tap", "ok", f"{tap} reads the layers of {model.name}; its self-test passed")
    if deep:
        try:
            yield _compared(model, tap)
        except BadInput as refusal:  # the reference does not know this output head
            yield Finding("deep", "note", f"no second opinion: {refusal}")
        except LedlocalError as error:
            yield Finding("deep", "wrong", str(error))


def _options(model: Path, tap: TapName) -> EngineOptions:
    return EngineOptions(str(model), context=512, tap=tap)


def _compared(model: Path, tap: str) -> Finding:
    """The same prompts through a tap and the reference, every layer looked into."""
    fast, reference = _posteriors(model, "auto"), _posteriors(model, "reference")
    pairs = [(candidate, p, other[candidate]) for one, other in zip(fast, reference, strict=True)
             for candidate, p in one.items() if candidate in other]
    if not pairs:
        return Finding("deep", "wrong", f"{tap} and reference have no candidate in common")
    apart = max(abs(p - q) for _, p, q in pairs)
    tolerance = _tolerance(model)
    text = (f"{tap} and reference on {len(fast)} prompts: {len(pairs)} probabilities differ by at most {apart:.1g}, "
            f"{tolerance:g} is allowed")
    return Finding("deep", "ok" if apart <= tolerance else "wrong", text)


def _tolerance(model: Path) -> float:
    """Allowed difference in probability: llama.cpp rounds a row to the partner type of the output matrix."""
    tensors = read_header(model).tensors
    head = tensors.get("output.weight") or tensors.get("token_embd.weight")
    return TOLERANCE if head is None or head.type in ("F32", "F16", "BF16") else QUANTIZED_TOLERANCE


def _posteriors(model: Path, tap: TapName) -> list[dict[tuple[int, int], float]]:
    """Per prompt: (layer, token) -> probability. The same prompts for every tap, one token each."""
    greedy = Sampling(temperature=0, led=Led(scope="all"))
    found = []
    with Worker(_options(model, tap)) as worker:
        n = worker.loaded.model.vocabulary
        for i in range(PROMPTS):
            prompt = tuple((i * 7919 + j * 104729 + 3) % n for j in range(8))
            request = Request(prompt_ids=prompt, thinking=greedy, answer=greedy, max_tokens=1, detail="all",
                              ignore_eos=True)
            [token] = [event for event in worker.generate(request) if isinstance(event, Token)]
            if (c := token.candidates) is not None:
                found.append({(layer, token): p for layer, row in zip(c.layers, c.posteriors, strict=True)
                              for token, p in zip(c.ids, row, strict=True)})
    return found


def _folders() -> Iterator[Finding]:
    """Where models, caches and conversations lie, and whether there is room."""
    for name, path, little in (("models", cache_folder(), LITTLE_SPACE),
                               ("cache", user_cache_path("ledlocal"), LITTLE),
                               ("kept", user_data_path("ledlocal"), LITTLE)):
        place = next(parent for parent in (path, *path.parents) if os.path.exists(parent))
        free = shutil.disk_usage(place).free
        text = f"{path} · {free / 2**30:.1f} GiB free"
        if not os.access(place, os.W_OK):
            yield Finding(name, "wrong", f"{text} · no permission to write", f"chown or chmod {place}")
        else:
            yield Finding(name, "ok" if free >= little else "note", text)


def _configuration(check: Callable[[Config], None]) -> Finding:
    try:
        config = read_config()
        check(config)
    except BadInput as error:
        return Finding("config", "wrong", str(error))
    return Finding("config", "ok", f"{config.path}{'' if config.exists else ' (none)'}")


def _terminal(environ: Mapping[str, str]) -> Finding:
    encoding = sys.stdout.encoding if sys.stdout else "none"
    size = shutil.get_terminal_size()
    text = (f"{environ.get('TERM', 'no TERM')} · {size.columns} x {size.lines} · {encoding}"
            f"{' · NO_COLOR' if environ.get('NO_COLOR') else ''}")
    if encoding.lower().replace("-", "") != "utf8":
        return Finding("terminal", "note", f"{text} · signs are plain letters", "a UTF-8 locale: export LANG=C.UTF-8")
    return Finding("terminal", "ok", text)


