"""What this build of llama.cpp is and sees; asked in a process of its own, which may die of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version

from ledlocal.runtime.child import run_child
from ledlocal.values.errors import BadInput, EngineDied, OutOfResources


@dataclass(frozen=True, slots=True)
class Device:
    """Something llama.cpp computes on."""

    name: str
    description: str
    gpu: bool
    total: int
    """Memory in bytes."""


@dataclass(frozen=True, slots=True)
class Build:
    """An installed llama-cpp-python."""

    version: str
    features: str
    """llama.cpp's own list of what was compiled in."""
    library: str
    """The file of libllama that is loaded."""
    native: bool
    """It has the patch."""
    amx_crashes: bool
    devices: tuple[Device, ...]


def survey() -> Build:
    """Ask the chosen library.

    Raises BadInput if it cannot be loaded, OutOfResources if there is no memory for it, EngineDied if its process dies
    of it.
    """
    child = run_child("ledlocal.runtime.build")
    if child.returncode:
        last = child.stderr.strip().rpartition("\n")[2] or f"exit {child.returncode}"
        raise EngineDied(f"llama.cpp does not load: {last}")
    answer = json.loads(child.stdout.splitlines()[-1])
    if "error" in answer:
        raise (OutOfResources if answer["short"] else BadInput)(answer["error"])
    return Build(**answer | {"devices": tuple(Device(**device) for device in answer["devices"])})


def _look() -> Build:
    from ledlocal.runtime import amx, ggml
    from ledlocal.runtime.library import C, is_native, library_path
    from ledlocal.runtime.llama import start_backend

    start_backend()
    devices = []
    for i in range(ggml.device_count()):
        pointer = ggml.device_at(i)
        devices.append(Device(ggml.device_name(pointer).decode(), ggml.device_description(pointer).decode(),
                              ggml.device_type(pointer) != ggml.CPU_DEVICE, ggml.memory_of(pointer)[1]))
    return Build(version("llama-cpp-python"), C.llama_print_system_info().decode(), str(library_path()),
                 is_native(), not amx.usable(), tuple(devices))


def main() -> None:
    """Look for survey."""
    try:
        answer = asdict(_look())
    except (BadInput, OutOfResources) as error:
        answer = {"error": str(error), "short": isinstance(error, OutOfResources)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
