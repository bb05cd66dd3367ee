"""A model file that was found, and how model files are named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_PART = re.compile(r"(?P<stem>.*)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE | re.DOTALL)
_QUANT = re.compile(r"(?:.*[-.])?(?P<quant>[A-Z0-9_]+)", re.IGNORECASE | re.DOTALL)
_NOT_MODELS = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
"""Words in the names of files that go with a model (llama.cpp's common/download.cpp, gguf_filename_is_model)."""
_PREFERRED = ("Q4_K_M", "Q8_0")
"""Without a wish, in this order (the same file, find_best_model)."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a model lies."""

    name: str
    """What `ledlocal` takes as MODEL."""
    path: Path
    """The file, or the first part of a split model."""
    origin: str
    """`file`, `embedded`, `HF cache`, `Ollama` or `LM Studio`."""

    @property
    def size(self) -> int:
        """Bytes of all parts that are there."""
        return sum(part.stat().st_size for part in parts_of(self.path) if part.exists())

    def said(self) -> str:
        """One line that names what was picked."""
        name = self.path.name if is_model(self.path.name) else self.name  # Ollama's files are named by their hashes
        return f"{name} ({self.origin}, {readable(self.size)})"


def readable(size: int) -> str:
    """Bytes in units that shops and the hub use: 1 GB is 10^9 bytes."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def is_model(name: str) -> bool:
    """Whether a file's name is that of a model, or of a split model's first part."""
    base = PurePosixPath(name).name
    part = _PART.fullmatch(base)
    return base.lower().endswith(".gguf") and not any(word in base for word in _NOT_MODELS) and (
        part is None or int(part["no"]) == 1)


def quant_of(name: str) -> str:
    """The quantization that a file's name tells, in upper case; empty if it tells none."""
    base = PurePosixPath(name).name
    if not base.lower().endswith(".gguf"):
        return ""
    part = _PART.fullmatch(base)
    stem = part["stem"] if part else base[:-len(".gguf")]
    match = _QUANT.fullmatch(stem)
    quant = match["quant"].upper() if match and match.start("quant") else ""
    return quant if re.match(r"(I?Q\d|T?Q\d|B?F\d|FP\d|MXFP|NVFP)", quant) else ""


def choose(names: Iterable[str], quant: str) -> str | None:
    """The model file that llama.cpp would take for `repo:quant`; None if there is none."""
    models = [name for name in names if is_model(name)]
    for wanted in (quant,) if quant else _PREFERRED:
        pattern = re.compile("(?<![A-Z0-9])" + re.escape(wanted) + "[.-]", re.IGNORECASE)
        if found := next((name for name in models if pattern.search(name)), None):
            return found
    return models[0] if models and not quant else None


def part_names(name: str) -> list[str]:
    """Names of all parts of a split model, by any of its parts; the name alone if it is not split."""
    folder, slash, base = name.rpartition("/")
    part = _PART.fullmatch(base)
    if part is None:
        return [name]
    return [f"{folder}{slash}{part['stem']}-{i:05d}-of-{part['count']}.gguf" for i in range(1, int(part["count"]) + 1)]


def parts_of(path: Path) -> list[Path]:
    """Files of all parts of a split model; the file alone if it is not split."""
    return [path.with_name(name) for name in part_names(path.name)]
