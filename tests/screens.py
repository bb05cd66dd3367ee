"""Driving the terminal UI without a terminal, on scripted engines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fake_engine import FakeEngine
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from ledlocal.conversation import Conversation
from ledlocal.reply import Engine
from ledlocal.settings import Settings
from ledlocal_tui.app import LedlocalApp
from ledlocal_tui.viewer import Viewer
from ledlocal_tui.widgets.prompt import Prompt

WAIT_S = 10.0
Script = Callable[[LedlocalApp, Pilot[Any]], Awaitable[None]]


def drive(script: Script, engine: FakeEngine | Callable[[], Engine], size: tuple[int, int] = (120, 40), *,
          conversation: Conversation | None = None, path: Path | None = None) -> None:
    """Run an application, and a script on it once its model is loaded."""
    start = engine if callable(engine) else lambda: engine
    app = LedlocalApp(lambda _name: start(), Settings(seed=41), conversation or Conversation(model="m"), path)

    async def run() -> None:
        try:
            async with app.run_test(size=size) as pilot:
                await until(pilot, lambda: (app.chat.dialogue is not None and not app.chat.busy)
                            or shown(app, "#banner") not in ("", "loading ..."))
                await script(app, pilot)
        finally:
            app.drop_engine()

    asyncio.run(run())


def drive_screen(script: Callable[[Viewer, Pilot[Any]], Awaitable[None]], screen: Screen[Any],
                 size: tuple[int, int] = (120, 40)) -> Viewer:
    """Show one screen, and run a script on it; the application when it has ended."""
    app = Viewer(screen)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause(0.05)
            await script(app, pilot)

    asyncio.run(run())
    return app


async def until(pilot: Pilot[Any], true: Callable[[], object]) -> None:
    """Let the application work until something is true."""
    end = asyncio.get_running_loop().time() + WAIT_S
    while not true():
        assert asyncio.get_running_loop().time() < end, "waited in vain"
        await pilot.pause(0.02)


async def say(app: LedlocalApp, pilot: Pilot[Any], text: str) -> None:
    """Type a message and have it answered."""
    await pilot.press(*("space" if letter == " " else letter for letter in text), "enter")
    taken = asyncio.Event()  # behind the message, which goes from the prompt to the chat
    app.chat.query_one(Prompt).call_later(app.chat.call_later, taken.set)
    await until(pilot, lambda: taken.is_set() and not app.chat.busy)
    await pilot.pause(0.1)


def shown(app: App[Any], selector: str) -> str:
    """The text of a Static of the screen in front."""
    return str(app.screen.query_one(selector, Static).visual)


def screen_text(app: App[Any]) -> str:
    """Everything that is on the screen."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips[:height]) if width else ""


def too_wide(app: App[Any]) -> list[Widget]:
    """What is seen of the screen in front and has something beyond its right edge, or the screen's."""
    return [widget for widget in app.screen.walk_children() if widget.region.area
            and (widget.region.right > app.size.width or widget.show_horizontal_scrollbar)]
