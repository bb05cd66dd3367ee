"""Which file a model's name means: one resolver for every command."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ledlocal.stores import hub, lmstudio, ollama
from ledlocal.stores.location import Location, is_model, parts_of
from ledlocal.values.errors import BadInput

DEMO = Path(__file__).parent / "demo" / "countdown-rl-f16.gguf"
"""The model that comes with the package: number puzzles, 2.7 MB."""
_HUB_ADDRESS = re.compile(r"^(https://)?(huggingface\.co|hf\.co)/(?=[^/]+/[^/]+$)")
_REPO = re.compile(r"(?P<repo>(?![.-])[\w.-]+/(?![.-])[\w.-]+?)(?::(?P<quant>[\w.-]+))?")


def resolve(name: str | None, *, offline: bool = False, aliases: Mapping[str, str] | None = None) -> Location:
    """The file that `name` means, fetched if it must be.

    None and `demo` are the embedded model; then a name among `aliases`, `ollama:NAME[:TAG]`,
    `lmstudio:PUBLISHER/MODEL[:QUANT]`, a path (a folder with one model too), and `USER/REPO[:QUANT]` of the Hugging
    Face hub, whose cache is asked before the network. Raises BadInput, LedlocalError (no connection), OutOfResources.
    """
    if name is not None and aliases and name in aliases:
        target = aliases[name]
        if target in aliases and target != name:
            raise BadInput(f"models.{name} stands for {target!r}, which is an alias itself")
        name = target
    name = name and _HUB_ADDRESS.sub("", name)
    if name is None or name == "demo":
        return Location("demo", DEMO, "embedded")
    for prefix, find in (("ollama:", ollama.find), ("lmstudio:", lmstudio.find)):
        if name.startswith(prefix):
            return find(name.removeprefix(prefix))
    repo = repository(name)
    if repo is None:
        return _file(name)
    if (here := hub.cached(*repo)) is not None:
        return here
    if offline or hub.offline():
        raise BadInput(f"{name}: neither a file nor in the hub's cache, and the network is not asked (offline); "
                       f"`ledlocal models pull {name}` fetches it")
    return hub.fetch(*repo)


def repository(name: str) -> tuple[str, str] | None:
    """Repository and quant of `user/repo[:quant]`; None for what is a file, or named like one."""
    match = _REPO.fullmatch(name)
    if match is None or name.endswith(".gguf") or os.path.lexists(name):
        return None
    return match["repo"], match["quant"] or ""


def known(unreadable: list[str]) -> Iterator[Location]:
    """Every model of every store; sentences about what cannot be read go to `unreadable`."""
    yield Location("demo", DEMO, "embedded")
    yield from hub.models()
    yield from ollama.models(unreadable)
    yield from lmstudio.models()


def _file(name: str) -> Location:
    """A path. Raises BadInput unless it is a model file that may be read, or a folder with one."""
    try:
        path = Path(name).expanduser()
        mode = path.stat().st_mode
    except FileNotFoundError:
        hint = "a model is a GGUF file, demo, user/repo[:quant], ollama:name or lmstudio:publisher/model"
        if any(letter.isspace() for letter in name):
            hint = "to ask the demo model: ledlocal chat demo PROMPT"
        raise BadInput(f"{name}: no such file; {hint}") from None
    except (OSError, ValueError, RuntimeError) as error:  # A NUL in the name; ~ of nobody.
        raise BadInput(f"{name!r}: {error.strerror if isinstance(error, OSError) else error}") from None
    if stat.S_ISDIR(mode):
        path = _only_model(path)
    elif not stat.S_ISREG(mode):
        raise BadInput(f"{name}: not a regular file, not a GGUF file")
    path = parts_of(path)[0]
    if not os.access(path, os.R_OK):
        raise BadInput(f"{path}: {'no permission to read it' if path.exists() else 'the first part is missing'}")
    return Location(str(path), path, "file")


def _only_model(folder: Path) -> Path:
    """The model in a folder. Raises BadInput unless there is exactly one."""
    try:
        names = sorted(path.name for path in folder.iterdir() if is_model(path.name))
    except OSError as error:
        raise BadInput(f"{folder}: {error.strerror}") from None
    if len(names) != 1:
        raise BadInput(f"{folder}: a folder, not a GGUF file" + (f"; it holds {', '.join(names)}" if names else ""))
    return folder / names[0]
