"""What a chat says before its first prompt."""

from __future__ import annotations

from ledlocal.reply import Look
from ledlocal.settings import Settings
from ledlocal.terminal import CHANGED, DIM, SAME, Console, confidence_style
from ledlocal.values.events import Loaded


def banner(console: Console, loaded: Loaded, settings: Settings) -> None:
    """Say what runs: model, parameters, markers, tap."""
    model = loaded.model
    console.info(f"model     {model.name} · {model.architecture} · {model.layers} layers · context {model.context} · "
                 f"tap {loaded.tap} · loaded in {loaded.load_s:.1f} s")
    for line in settings.describe(loaded):
        console.info(line)
    if model.think_end:
        console.info(f"markers   {model.think_start or 'opened by the template'} … {model.think_end}, "
                     f"found by {model.think_found}")
    for notice in (*loaded.notices, *settings.notices(loaded)):
        console.note(notice)


def legend(console: Console, look: Look) -> None:
    """Say once what the signs of explored tokens mean."""
    same, changed = console.err.same, console.err.changed
    if look.color_by == "explored" and same and not console.quiet:
        console.err.write("explored  ", DIM)
        console.err.write(f"same token{same}", SAME)
        console.err.write("  ")
        console.err.write(f"another token{changed}", CHANGED)
        console.err.write("\n")
    elif look.color_by == "confidence" and not console.quiet:
        if not console.err.color:
            console.note("--color-by confidence shows nothing where there is no colour")
            return
        console.err.write("confident ", DIM)
        for percent in (10, 30, 50, 70, 90, 99):
            console.err.write(f"{percent} % ", confidence_style(percent / 100))
        console.err.write("\n")
