"""Where llama.cpp's libraries lie: the installed ones, and the patched one that `ledlocal build` makes."""

from __future__ import annotations

import hashlib
import os
import struct
from importlib import resources
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_data_path

PINNED = "0.3.36"
"""Release of llama-cpp-python whose structs are mirrored here and whose llama.cpp is patched."""
OVERRIDE = "LEDLOCAL_LIBRARY"
"""Environment variable: a folder with another libllama, or `stock` for the installed one whatever was built."""
PATCH = "0001-llama-tap.patch"


def patch_text() -> str:
    """The patch that comes with this package."""
    return (resources.files("ledlocal.patches") / PATCH).read_text(encoding="utf-8")


def native_folder() -> Path:
    """Where the patched library of this release and this patch is, or would be."""
    digest = hashlib.sha256(patch_text().encode()).hexdigest()
    return user_data_path("ledlocal") / "native" / f"{PINNED}-{digest[:12]}"


def stock_folder() -> Path:
    """Where llama-cpp-python keeps its libraries. Raises ImportError if it is not installed."""
    spec = find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise ImportError("llama-cpp-python is not installed")
    return Path(spec.origin).parent / "lib"


def chosen_folder() -> Path:
    """Where libllama is loaded from: the override, the patched library, or the installed one."""
    override = os.environ.get(OVERRIDE)
    if override and override != "stock":
        return Path(override)
    native = native_folder()
    fits = not override and library_in(native, "llama") and version("llama-cpp-python") == PINNED
    return native if fits else stock_folder()


def cut_short(library: Path) -> bool:
    """Whether the end of an ELF file is missing: using one would end the process with SIGBUS."""
    with library.open("rb") as file:
        header = file.read(64)
    if len(header) < 64:
        return True
    if not header.startswith(b"\x7fELF\x02\x01"):
        return False
    sections, = struct.unpack_from("<Q", header, 40)  # Elf64_Ehdr: e_shoff, e_shentsize, e_shnum
    size, count = struct.unpack_from("<HH", header, 58)
    return bool(library.stat().st_size < sections + size * count)


def library_in(folder: Path, name: str) -> Path | None:
    """A shared library's file; None if it is not there."""
    found = (folder / f"lib{name}{ending}" for ending in (".so", ".dylib"))
    return next((path for path in found if os.path.exists(path)), None)
