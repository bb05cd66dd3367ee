"""`ledlocal data`: the paper's benchmark files."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from ledlocal.commands.completion import benchmarks
from ledlocal.values.errors import BadInput, LedlocalError

_NAMES = click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=benchmarks)


@click.group()
def data() -> None:
    """List, fetch and check the paper's benchmark files; without a NAME all of them.

    They come from the repository of the paper's authors, are kept in the cache, and are only taken as they were
    published: the SHA-256 of each is known.
    """


@data.command()
@_NAMES
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
def ls(names: tuple[str, ...], as_json: bool) -> None:
    """List benchmarks: kind, problems, state, size and place."""
    from ledlocal.evals.dataset import copies, place
    from ledlocal.stores.location import readable
    from ledlocal.terminal import Screen

    for name in names:
        place(name)
    found = [copy for copy in copies() if not names or copy.name in names]
    if as_json:
        click.echo(json.dumps([{**asdict(copy), "path": str(copy.path)} for copy in found]))
        return
    for copy in found:
        count = "" if copy.problems is None else copy.problems
        size = "" if copy.size is None else readable(copy.size)
        Screen(sys.stdout).line(f"{copy.name:13}  {copy.kind:11}  {count:>4}  {copy.state:11}  {size:>8}  {copy.path}")


@data.command()
@_NAMES
@click.option("--offline", is_flag=True, envvar="LEDLOCAL_OFFLINE", help="Never use the network.")
def pull(names: tuple[str, ...], offline: bool) -> None:
    """Download what is not here, and print where it lies."""
    from rich.console import Console

    from ledlocal.evals import dataset
    from ledlocal.stores import hub
    from ledlocal.terminal import Screen, leave_on_signals

    leave_on_signals()
    for name in _chosen(names):
        if (state := dataset.state_of(name)) != "cached" and (offline or hub.offline()):
            raise BadInput(f"{name} is {state}, and the network is not asked (offline)")
        with Console(stderr=True).status(f"{name} from {dataset.SOURCE}"):
            path = dataset.fetch(name)
        Screen(sys.stdout).write(f"{path}\n")


@data.command()
@_NAMES
def verify(names: tuple[str, ...]) -> None:
    """Read what is here again; exit code 1 if it is damaged."""
    from ledlocal.evals.dataset import place, state_of
    from ledlocal.terminal import Screen

    states = {name: state_of(name) for name in _chosen(names)}
    for name, state in states.items():
        if names or state != "not fetched":
            Screen(sys.stdout).line(f"{name:13}  {state:11}  {place(name)}")
    damaged = [name for name, state in states.items() if state == "damaged"]
    if damaged:
        raise LedlocalError(f"{', '.join(damaged)}: damaged; ledlocal data pull {' '.join(damaged)}")
    missing = [name for name in names if states[name] == "not fetched"]
    if missing:
        raise BadInput(f"{', '.join(missing)}: not fetched; ledlocal data pull {' '.join(missing)}")


def _chosen(names: tuple[str, ...]) -> tuple[str, ...]:
    from ledlocal.evals.benchmark import PUBLISHED

    return names or tuple(PUBLISHED)


@data.command()
def gym() -> None:
    """List the tasks of reasoning-gym, as --task takes them."""
    from ledlocal.evals.gym import PREFIX, gym_names

    for name in gym_names():
        click.echo(PREFIX + name)
