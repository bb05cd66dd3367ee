"""`ledlocal doctor`: what works here."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import click

from ledlocal.commands.completion import models_and_files
from ledlocal.values.errors import BadInput


@click.command()
@click.argument("model", required=False, shell_complete=models_and_files)
@click.option("--deep", is_flag=True, help="Also compare the tap with the slow reference on MODEL.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="[auto]")
def doctor(model: str | None, deep: bool, as_json: bool, color: Any) -> None:
    """Look at engine, GPU, taps, folders, configuration and terminal; MODEL is what the taps are tried on. [demo]"""
    from ledlocal.commands.chat import check_chat
    from ledlocal.config import read_config
    from ledlocal.doctor import examine
    from ledlocal.models import resolve
    from ledlocal.terminal import CHANGED, DIM, ERROR, Screen

    try:
        aliases = read_config().models
    except BadInput:
        aliases = {}  # told among the findings
    path = resolve(model, offline=True, aliases=aliases).path
    screen = Screen(sys.stdout, color)
    styles = {"ok": "", "note": CHANGED, "wrong": ERROR}
    wrong = False
    for finding in examine(path, deep, check_chat):
        wrong |= finding.state == "wrong"
        if as_json:
            click.echo(json.dumps(asdict(finding)))
            continue
        screen.write(f"{finding.state:6}", styles[finding.state])
        screen.line(f"{finding.name:9} {finding.text}")
        if finding.mend:
            screen.line(f"{'':15} {finding.mend}", DIM)
    sys.exit(int(wrong))
