"""The door to llama.cpp's shared library: llama-cpp-python's low-level bindings, over the library that was chosen."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from ledlocal.runtime.install import OVERRIDE, chosen_folder, cut_short, library_in, native_folder, stock_folder
from ledlocal.values.errors import BadInput, OutOfResources


def _short_of_memory(message: str) -> bool:
    """Whether a message of the dynamic linker is about memory. On a noexec mount a reason stands behind these words."""
    return "annot allocate memory" in message or message.endswith("failed to map segment from shared object")


def _load() -> Any:
    folder = chosen_folder()
    try:
        library = library_in(folder, "llama")
        if library is not None and cut_short(library):
            raise OSError(f"{library.name} is cut short")
        if folder != stock_folder():
            # a patched libllama finds its ggml by name, and so the one that is loaded already
            ctypes.CDLL(str(library_in(folder, "ggml") or library_in(stock_folder(), "ggml")))
            os.environ["LLAMA_CPP_LIB_PATH"] = str(folder)
        import llama_cpp.llama_cpp as bindings
    except (OSError, RuntimeError) as error:
        if _short_of_memory(str(error)):
            raise OutOfResources(f"not enough memory to load llama.cpp's library in {folder}: {error}") from None
        anew = "; `ledlocal build` makes it anew" if folder == native_folder() else ""
        stock = f"; {OVERRIDE}=stock takes the installed one" if folder != stock_folder() else ""
        raise BadInput(f"llama.cpp's library in {folder} does not load: {error}{anew}{stock}") from None

    os.environ.pop("LLAMA_CPP_LIB_PATH", None)  # a child chooses for itself
    return bindings


C = _load()
"""The bindings. Nothing else in this project imports them."""


def library_path() -> Path:
    """The file of libllama that was loaded."""
    return Path(C._lib._name)


def is_native() -> bool:
    """Whether the loaded library has the patch."""
    return hasattr(C._lib, "llama_tap_set")
