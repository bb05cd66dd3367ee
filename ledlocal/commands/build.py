"""`ledlocal build`: compile the patched llama.cpp."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.option("--full", is_flag=True, help="Compile ggml too, with cmake's options behind it: --full -DGGML_CUDA=ON.")
@click.option("--into", type=click.Path(path_type=Path), metavar="FOLDER", help="Only build it there, for experiments.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[-DNAME=VALUE]...")
def build(full: bool, into: Path | None, options: tuple[str, ...]) -> None:
    """Build the patched llama.cpp: layers are then read by C code instead of a plugin in Python.

    Needs a C++ compiler and the program patch. Only libllama is compiled (minutes); the installed ggml libraries, and
    with them CUDA, Metal or Vulkan, stay in use. Nothing is lost if it fails: the installed library works as before.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ledlocal.native import build as build_library
    from ledlocal.terminal import leave_on_signals
    from ledlocal.values.errors import BadInput

    if wrong := [option for option in options if not option.startswith("-D")]:
        raise BadInput(f"{wrong[0]!r} is no cmake option of the form -DNAME=VALUE")
    if options and not full:
        raise BadInput(f"{options[0]} needs --full: without it no backend is compiled")
    leave_on_signals()
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                  console=Console(stderr=True)) as bar:
        task = bar.add_task("source")
        path = build_library(lambda what, done, steps: bar.update(task, description=what, completed=done, total=steps),
                             options if full else None, into)
    click.echo(str(path))
