"""The paper's benchmark files: fetched once from the authors' repository into the user's cache, and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from platformdirs import user_cache_path

from ledlocal import __version__
from ledlocal.evals.benchmark import PUBLISHED
from ledlocal.evals.question_file import read_items
from ledlocal.text_file import read_most, write_whole
from ledlocal.values.errors import BadInput, LedlocalError

SOURCE = "https://raw.githubusercontent.com/AlbertTan404/LED/afe8352/datasets"
"""The folder of the files, at the commit that PUBLISHED is of."""
TIMEOUT_S = 10.0
"""For the connection, and for each piece that comes."""

State = Literal["cached", "not fetched", "damaged"]


@dataclass(frozen=True, slots=True)
class Copy:
    """A benchmark's file in the cache, or its place there."""

    name: str
    kind: str
    problems: int | None
    """None unless it is cached, as the size."""
    state: State
    size: int | None
    """Bytes."""
    path: Path


def place(name: str) -> Path:
    """Where a benchmark's file belongs. Raises BadInput for a name that the paper has not."""
    if name not in PUBLISHED:
        raise BadInput(f"{name}: no benchmark of the paper; there are {', '.join(PUBLISHED)}")
    return user_cache_path("ledlocal") / "data" / f"{name}.json"


def path_of(name: str) -> Path:
    """Where an undamaged file lies. Raises BadInput that says how to get one."""
    if (state := state_of(name)) != "cached":
        raise BadInput(f"{name} is {state}: ledlocal data pull {name}, or --data FILE")
    return place(name)


def state_of(name: str) -> State:
    """Whether a benchmark's file is here. Reads all of it: it is small, and what is remembered hides a bad disk."""
    try:
        with place(name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return "not fetched"
    except OSError:
        return "damaged"
    return "cached" if digest == PUBLISHED[name].sha256 else "damaged"


def copies() -> Iterator[Copy]:
    """Every benchmark of the paper."""
    for name, published in PUBLISHED.items():
        path, state = place(name), state_of(name)
        here = state == "cached"
        yield Copy(name, published.kind, len(read_items(path)) if here else None, state,
                   path.stat().st_size if here else None, path)


def fetch(name: str) -> Path:
    """Where an undamaged file lies, after downloading it if it is not here: whole, or not at all.

    Raises BadInput (another file than the published one), LedlocalError (no answer), OutOfResources (disk).
    """
    if state_of(name) == "cached":
        return place(name)
    url = f"{SOURCE}/{name}.json"
    data = _download(name, url)
    digest, wanted = hashlib.sha256(data).hexdigest(), PUBLISHED[name].sha256
    if digest != wanted:
        raise BadInput(f"{url}: this is not {name} as published: its SHA-256 is {digest}, not {wanted}")
    write_whole(place(name), data)
    return place(name)


def _download(name: str, url: str) -> bytes:
    try:
        with urlopen(Request(url, headers={"User-Agent": f"ledlocal/{__version__}"}), timeout=TIMEOUT_S) as answer:
            data = read_most(answer, url)
            promised = answer.headers.get("Content-Length", "")
    except HTTPError as error:
        error.close()
        reason = f"the server answers {error.code} {error.reason}"
    except (OSError, HTTPException) as error:
        reason = f"no connection ({getattr(error, 'reason', error)})"
    else:
        # http.client takes the end of a connection for the end of a file
        if not promised.isdigit() or len(data) >= int(promised):
            return data
        reason = f"the connection ended after {len(data)} of {promised} bytes"
    raise LedlocalError(f"{name} is not fetched: {url}: {reason}; a copy from elsewhere is taken with --data FILE")
