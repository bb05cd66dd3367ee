"""The Hugging Face hub, through huggingface_hub; its cache is llama.cpp's, too.

Folders: models--<user>--<repo>/{refs/main, snapshots/<revision>/<file>}.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from ledlocal.stores.location import Location, choose, is_model, part_names, parts_of, quant_of
from ledlocal.values.errors import BadInput, LedlocalError, OutOfResources

ORIGIN = "HF cache"
TRIES = 5
TIMEOUT_S = 10.0
"""For the hub's first answer; huggingface_hub has the same for files."""


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the hub's files are kept: llama.cpp's LLAMA_CACHE, then huggingface_hub's own variables."""
    for name in ("LLAMA_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if environ.get(name):
            return Path(environ[name]).expanduser()
    cache = Path(environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(environ.get("HF_HOME") or cache / "huggingface").expanduser() / "hub"


def offline(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the user keeps every program off the network."""
    return environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")


def cached(repo: str, quant: str) -> Location | None:
    """A model of a repository that is here in full."""
    snapshot = _snapshot(cache_folder() / f"models--{repo.replace('/', '--')}")
    if snapshot is None:
        return None
    names = sorted(path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*.gguf"))
    complete = [name for name in names if set(part_names(name)) <= set(names)]
    name = choose(complete, quant)
    return None if name is None else _location(repo, snapshot / name)


def fetch(repo: str, quant: str) -> Location:
    """Download a model, or what is missing of it; progress goes to a terminal's stderr.

    Raises BadInput (no such repository, quant or permission), LedlocalError (no connection), OutOfResources (disk).
    """
    if sys.stderr is None or not sys.stderr.isatty():
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # read when the library is imported
    import huggingface_hub
    from huggingface_hub import errors

    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # what goes wrong is told here, in one line
    warnings.filterwarnings("ignore", module="huggingface_hub")
    try:
        info = huggingface_hub.HfApi().model_info(repo, timeout=TIMEOUT_S)
        names = [file.rfilename for file in info.siblings or ()]
        name = choose(names, quant)
        if name is None:
            raise BadInput(_no_such_file(repo, quant, names))
        paths = [_download(repo, part) for part in part_names(name)]
    except errors.GatedRepoError:
        raise BadInput(f"{repo} is gated: accept its terms on its page, then `hf auth login` or set HF_TOKEN") from None
    except errors.RepositoryNotFoundError:
        raise BadInput(f"{repo}: the hub has no such repository, or a private one (hf auth login, HF_TOKEN)") from None
    except errors.HFValidationError as error:
        raise BadInput(f"{repo}: {error}") from None
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError) as error:
        raise LedlocalError(f"{repo}: the hub does not answer: {str(error).splitlines()[0]}") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise OutOfResources(f"{cache_folder()}: {error.strerror}") from None
        raise LedlocalError(f"{repo}: {error}") from None
    except Exception as error:
        if not _of_the_network(error):
            raise
        raise LedlocalError(f"{repo}: no connection to the hub ({error})") from None
    return _location(repo, paths[0])


def _download(repo: str, part: str, tries: int = TRIES) -> Path:
    """One file, or what is missing of it; a connection that breaks is made again."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo, part, cache_dir=cache_folder(), library_name="ledlocal",
                                    library_version=version("ledlocal")))
    except Exception as error:
        if tries == 1 or not _of_the_network(error):
            raise
    time.sleep(TRIES - tries)
    return _download(repo, part, tries - 1)


def _of_the_network(error: Exception) -> bool:
    """The HTTP library's own, which huggingface_hub does not wrap."""
    return type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "requests")


def models() -> Iterator[Location]:
    """Every model in the cache that is here in full."""
    folder = cache_folder()
    for repo_folder in sorted(folder.glob("models--*--*")):
        snapshot = _snapshot(repo_folder)
        if snapshot is None:
            continue
        names = {path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*.gguf")}
        repo = "/".join(repo_folder.name.split("--", 2)[1:])
        for name in sorted(names):
            if is_model(name) and set(part_names(name)) <= names:
                yield _location(repo, snapshot / name)


def remove(location: Location) -> int:
    """Delete a cached model's files; bytes that are free again. A file that another revision uses stays.

    Raises OutOfResources if the cache cannot be written.
    """
    freed = 0
    repo_folder = next(parent for parent in location.path.parents if parent.name.startswith("models--"))
    try:
        for part in parts_of(location.path):
            blob = part.resolve()
            part.unlink()
            others = (link.resolve() for link in (repo_folder / "snapshots").rglob("*") if link.is_symlink())
            if blob != part and blob.exists() and blob not in others:
                freed += blob.stat().st_size
                blob.unlink()
    except OSError as error:
        raise OutOfResources(f"{error.filename}: {error.strerror}") from None
    return freed


def _snapshot(repo_folder: Path) -> Path | None:
    """The revision that `main` names, else the newest one."""
    snapshots = repo_folder / "snapshots"
    try:
        revision = (repo_folder / "refs" / "main").read_text().strip()
        if revision and "/" not in revision and os.path.isdir(snapshots / revision):
            return snapshots / revision
    except OSError:
        pass
    found = [path for path in snapshots.glob("*") if os.path.isdir(path)]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def _location(repo: str, path: Path) -> Location:
    quant = quant_of(path.name)
    return Location(f"{repo}:{quant}" if quant else repo, path, ORIGIN)


def _no_such_file(repo: str, quant: str, names: list[str]) -> str:
    quants = sorted({quant_of(name) for name in names if is_model(name)} - {""})
    if not any(map(is_model, names)):
        return f"{repo} holds no GGUF model"
    return f"{repo} has no {quant}; it has {', '.join(quants) or ', '.join(filter(is_model, names))}"
