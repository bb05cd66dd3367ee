"""LM Studio's folder, read in place: models/<publisher>/<model>/<file>.gguf."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ledlocal.stores.location import Location, choose, is_model, quant_of
from ledlocal.values.errors import BadInput

ORIGIN = "LM Studio"
_NAME = re.compile(r"(?P<publisher>(?!\.)[^/:]+)/(?P<model>(?!\.)[^/:]+)(?::(?P<quant>[\w.-]+))?")


def folders(home: Path | None = None) -> list[Path]:
    """Where LM Studio keeps models: its home may have been moved, or be an old one."""
    home = home or Path.home()
    homes = [home / ".lmstudio", home / ".cache" / "lm-studio"]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        homes.insert(0, Path((home / ".lmstudio-home-pointer").read_text().strip()))
    return list(dict.fromkeys(one / "models" for one in homes if os.path.isdir(one / "models")))


def find(reference: str) -> Location:
    """The model `publisher/model[:quant]`. Raises BadInput."""
    match = _NAME.fullmatch(reference)
    if match is None:
        raise BadInput(f"lmstudio:{reference} is no name of a model; it looks like lmstudio:publisher/model")
    places = [folder / match["publisher"] / match["model"] for folder in folders()]
    paths = {path.name: path for place in reversed(places) for path in sorted(place.glob("*.gguf"))}
    if name := choose(paths, match["quant"] or ""):
        return _location(paths[name])
    if names := list(filter(is_model, paths)):
        quants = ", ".join(sorted({*map(quant_of, names)} - {""})) or ", ".join(names)
        raise BadInput(f"lmstudio:{reference} is not here; {match['model']} has {quants}")
    there = ", ".join(location.name for location in models())
    raise BadInput(f"lmstudio:{reference} is not here; " + (f"there are {there}" if there else
                                                            "LM Studio has no models here"))


def models() -> Iterator[Location]:
    """Every model."""
    for folder in folders():
        for path in sorted(folder.glob("*/*/*.gguf")):
            if is_model(path.name):
                yield _location(path)


def _location(path: Path) -> Location:
    quant = quant_of(path.name)
    name = f"lmstudio:{path.parent.parent.name}/{path.parent.name}"
    return Location(f"{name}:{quant}" if quant else name, path, ORIGIN)
