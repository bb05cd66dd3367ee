"""`ledlocal models`: find, fetch and describe models."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ledlocal.commands.completion import models_and_files
from ledlocal.values.errors import BadInput

if TYPE_CHECKING:
    from ledlocal.stores.location import Location

_OFFLINE = click.option("--offline", is_flag=True, envvar="LEDLOCAL_OFFLINE", help="Never use the network.")
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


@click.group()
def models() -> None:
    """Find, fetch and describe models.

    MODEL is a GGUF file or a folder with one, demo, user/repo[:quant] of the Hugging Face hub, ollama:name[:tag],
    lmstudio:publisher/model[:quant], or a name of your configuration file.
    """


@models.command()
@_JSON
def ls(as_json: bool) -> None:
    """List the models that are here: the hub's cache, Ollama's and LM Studio's."""
    from ledlocal.config import read_config
    from ledlocal.models import known
    from ledlocal.stores.location import quant_of, readable
    from ledlocal.terminal import Screen

    screen = Screen(sys.stdout)
    unreadable: list[str] = []
    found = list(known(unreadable))
    rows = [{"name": one.name, "path": str(one.path), "size": one.size, "quant": quant_of(one.path.name),
             "origin": one.origin} for one in found]
    rows += [{"name": name, "path": target, "size": None, "quant": "", "origin": "alias"}
             for name, target in read_config().models.items()]
    if as_json:
        click.echo(json.dumps(rows))
    else:
        width = max(len(str(row["name"])) for row in rows)
        for row in rows:
            size = readable(row["size"]) if isinstance(row["size"], int) else ""
            of = f" of {row['path']}" if row["origin"] == "alias" else ""
            screen.line(f"{row['name']!s:{width}}  {size:>10}  {row['origin']}{of}")
    for sentence in unreadable:
        Screen(sys.stderr).line(f"ledlocal: {sentence}")


@models.command()
@click.argument("model", shell_complete=models_and_files)
@_JSON
def info(model: str, as_json: bool) -> None:
    """Describe MODEL, which is here, from its header: shape, layers that LED can read, thinking markers, what fits."""
    from ledlocal.model_info import lines, model_info
    from ledlocal.terminal import Screen

    found = model_info(_located(model, offline=True))
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        for line in lines(found):
            Screen(sys.stdout).line(line)


@models.command()
@click.argument("model", shell_complete=models_and_files)
@_OFFLINE
def pull(model: str, offline: bool) -> None:
    """Download MODEL (user/repo[:quant]) into the hub's cache, or what is missing of it."""
    from ledlocal.config import read_config
    from ledlocal.models import repository
    from ledlocal.stores import hub

    name = read_config().models.get(model, model)
    repo = repository(name)
    if repo is None:
        raise BadInput(f"{name} is nothing to pull: that takes user/repo[:quant] of the Hugging Face hub")
    if offline or hub.offline():
        raise BadInput(f"{name} is not pulled: the network is not asked (offline)")
    _print(str(hub.fetch(*repo).path))


@models.command()
@click.argument("model", shell_complete=models_and_files)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(model: str, yes: bool) -> None:
    """Delete MODEL from the hub's cache; what other programs keep is left to them."""
    from ledlocal.safe_text import safe_line
    from ledlocal.stores import hub
    from ledlocal.stores.location import readable

    location = _located(model, offline=True)
    if location.origin != hub.ORIGIN:
        raise BadInput(f"{model} is not in the hub's cache but {location.origin}: {location.path}; it is left alone")
    if not yes and not (sys.stdin.isatty() and click.confirm(f"delete {safe_line(location.said())}?", err=True)):
        raise BadInput(f"{model} is kept; -y deletes it without asking")
    _print(f"{readable(hub.remove(location))} are free again")


@models.command()
@click.argument("model", shell_complete=models_and_files)
@_OFFLINE
def path(model: str, offline: bool) -> None:
    """Print where MODEL lies, fetching it if it must be."""
    _print(str(_located(model, offline).path))


def _print(text: str) -> None:
    """Exact in a pipe; on a terminal, strangers' file names are shown safely."""
    from ledlocal.terminal import Screen

    Screen(sys.stdout).write(text + "\n")


def _located(model: str, offline: bool) -> Location:
    from ledlocal.config import read_config
    from ledlocal.models import resolve

    return resolve(model, offline=offline, aliases=read_config().models)
