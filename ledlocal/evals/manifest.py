"""What a run was done with, in full: enough to tell whether another machine, or another day, would give the same."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ledlocal.evals.arm import Arm
from ledlocal.evals.run_folder import MANIFEST
from ledlocal.runtime.build import Build
from ledlocal.text_file import read_text
from ledlocal.values.errors import BadInput
from ledlocal.values.events import Loaded
from ledlocal.values.params import EngineOptions

KEPT = ("context", "slots", "threads")
"""Engine options that are chosen by the machine at the first start, and stay when the run goes on."""
PASSING = ("machine", "model.name", "engine.slots", "asked", "sources")
"""Parts of the manifest that may differ when a run goes on, or between its shards."""


ELSEWHERE = ("engine.threads", "build.features", "build.devices", "build.patched", "tap")
"""Parts that may differ between shards that were made on different machines: up to rounding they change nothing."""


def manifest_of(name: str, sha256: str, loaded: Loaded, options: EngineOptions, asked: Mapping[str, Any], build: Build,
                arms: Sequence[Arm], data: Mapping[str, str], sources: Mapping[str, str]) -> dict[str, Any]:
    """The content of manifest.json. `asked`: what the user wanted; `data`: SHA-256 of each task's questions; `sources`:
    what they came from."""
    model = loaded.model
    engine = engine_of(options)
    on_gpu = any(device.gpu for device in build.devices) and options.gpu_layers != 0
    return {
        "model": {
            "name": name, "sha256": sha256, "architecture": model.architecture, "layers": model.layers,
            "vocabulary": model.vocabulary, "template_sha256": model.template_sha256,
            "think": {"start": model.think_start, "end": model.think_end, "found": model.think_found},
        },
        "data": dict(data),
        "sources": dict(sources),
        "arms": {f"{arm.method} @ {arm.temperature:g}": dict(zip(
            ("thinking", "answer"), map(asdict, arm.sampling(loaded)), strict=True)) for arm in arms},
        "engine": engine | {"context": model.context, "kv_cache": "split" if options.reproducible else "automatic"},
        "asked": dict(asked),
        "tap": loaded.tap,
        "build": {
            "ledlocal": version("ledlocal"), "llama_cpp_python": build.version, "features": build.features,
            "patched": build.native, "devices": [device.description for device in build.devices],
        },
        "repeatable": "up to the rounding of the GPU's kernels" if on_gpu else "bit for bit",
        "machine": {"system": platform.platform(), "cores": len(os.sched_getaffinity(0))
                    if hasattr(os, "sched_getaffinity") else os.cpu_count()},
    }


def engine_of(options: EngineOptions) -> dict[str, Any]:
    """How the engine is started, as the manifest has it."""
    given = asdict(options)
    template = given.pop("chat_template")
    del given["model"]
    return given | {"chat_template_sha256": template and hashlib.sha256(template.encode()).hexdigest()}


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run. Raises BadInput."""
    path = folder / MANIFEST
    try:
        return dict(json.loads(read_text(path)))
    except ValueError as error:
        raise BadInput(f"{path}: this is not JSON: {error}") from None


def comparable(manifest: Mapping[str, Any], passing: Sequence[str] = PASSING) -> dict[str, Any]:
    """Without what may differ when a run goes on."""
    kept = json.loads(json.dumps(manifest))  # tuples become lists, as in the file
    for name in passing:
        *path, last = name.split(".")
        at = kept
        for part in path:
            at = at.get(part, {})
        at.pop(last, None)
    return dict(kept)
