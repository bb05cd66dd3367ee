"""Ollama's store, read in place.

A manifest, manifests/<host>/<namespace>/<model>/<tag>, names blobs/sha256-<digest>, which is a plain GGUF file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ledlocal.stores.location import Location
from ledlocal.values.errors import BadInput

ORIGIN = "Ollama"
_MODEL_LAYER = "application/vnd.ollama.image.model"
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_SEGMENT = re.compile(r"(?!\.)[\w.-]+")


def folders(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where Ollama keeps models: as its variable says, the user's, the Linux service's."""
    named = environ.get("OLLAMA_MODELS")
    places = [Path(named)] if named else [Path("~/.ollama/models"), Path("/usr/share/ollama/.ollama/models")]
    return [place.expanduser() for place in places if os.path.isdir(place.expanduser())]


def find(reference: str) -> Location:
    """The model `[[host/]namespace/]name[:tag]`. Raises BadInput."""
    name, _, tag = reference.partition(":")
    segments = [*name.split("/"), tag or "latest"]
    if not 2 <= len(segments) <= 4 or not all(map(_SEGMENT.fullmatch, segments)):
        raise BadInput(f"ollama:{reference} is no name of a model; it looks like ollama:name or ollama:name:tag")
    if len(segments) == 2:
        segments.insert(0, "library")
    pattern = "/".join(("*", *segments) if len(segments) == 3 else segments)
    for folder in folders():
        for manifest in sorted((folder / "manifests").glob(pattern)):
            return Location(f"ollama:{reference}", _weights(folder, manifest), ORIGIN)
    there = sorted(f"ollama:{name}" for folder in folders() for name, _ in _named(folder))
    raise BadInput(f"ollama:{reference} is not here; "
                   + (f"there are {', '.join(there)}" if there else "Ollama has no models here"))


def models(unreadable: list[str]) -> Iterator[Location]:
    """Every model; sentences about those that cannot be read go to `unreadable`."""
    for folder in folders():
        for name, manifest in sorted(_named(folder)):
            try:
                yield Location(f"ollama:{name}", _weights(folder, manifest), ORIGIN)
            except BadInput as error:
                unreadable.append(str(error))


def _named(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names as a user writes them, and their manifests."""
    for manifest in (folder / "manifests").glob("*/*/*/*"):
        if os.path.isfile(manifest):
            host, namespace, model, tag = manifest.relative_to(folder / "manifests").parts
            own = len(list((folder / "manifests").glob(f"*/{namespace}/{model}/{tag}"))) == 1
            path = "/".join([*([] if own else [host]), *([] if own and namespace == "library" else [namespace]), model])
            yield f"{path}:{tag}", manifest


def _weights(folder: Path, manifest: Path) -> Path:
    """The blob that a manifest names as the model. Raises BadInput naming the manifest."""
    try:
        layers = json.loads(manifest.read_bytes())["layers"]
        digest = next(layer["digest"] for layer in layers if layer["mediaType"] == _MODEL_LAYER)
        match = _DIGEST.fullmatch(digest)
    except (OSError, ValueError, KeyError, TypeError, StopIteration, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else "no model is named in it"
        raise BadInput(f"{manifest}: {why}") from None
    if match is None:
        raise BadInput(f"{manifest}: {digest!r} is no digest")
    blob = folder / "blobs" / f"sha256-{match[1]}"
    if not os.path.isfile(blob):
        raise BadInput(f"{manifest}: its weights {blob.name} are not there; pull it again with Ollama")
    return blob
