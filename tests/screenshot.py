"""Pictures of a screen, beside those that somebody has looked at: exact to the letter and the colour."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from screens import until
from textual.app import App
from textual.pilot import Pilot

KEPT = Path(__file__).with_name("screenshots")
RENEW = bool(os.environ.get("RENEW_SCREENSHOTS"))
"""Keep what is seen now; to be looked at before it is committed."""
_NAMES = re.compile(r"terminal-\d+-")
"""Rich names every part of a picture by a hash of its content: one letter would change every line of a file."""


def picture(app: App[Any]) -> str:
    """The screen in front as SVG."""
    for field in app.screen.query("Input, TextArea"):
        field.cursor_blink, field._cursor_visible = False, True  # type: ignore[attr-defined]
    return _NAMES.sub("", app.export_screenshot(simplify=True)).replace("&#160;", "\N{NO-BREAK SPACE}")


async def compare(app: App[Any], pilot: Pilot[Any], name: str, out: Path) -> None:
    """With the picture of that name, or keep it; one that differs is left in `out`."""
    path = KEPT / f"{name}.svg"
    if RENEW:
        picture(app)  # it has the cursor shown
        await pilot.pause(1)
        path.write_text(picture(app))
        return
    kept = path.read_text()
    try:
        await until(pilot, lambda: picture(app) == kept)
    except AssertionError:
        (out / path.name).write_text(picture(app))
        raise AssertionError(f"{out / path.name} differs from {path}; RENEW_SCREENSHOTS=1 keeps it") from None
