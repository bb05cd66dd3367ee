"""Recorded traces in the inspector, without an engine."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from fake_engine import token
from screens import screen_text, shown, until
from test_tui_numbers import FORK
from textual.pilot import Pilot
from tmux import Tmux

from ledlocal.trace import TraceWriter, read_trace, replies_of
from ledlocal.values.events import Token
from ledlocal_tui.screens.help import HelpScreen
from ledlocal_tui.screens.recording import Recording
from ledlocal_tui.viewer import Viewer

FIRST = [token("I", "thinking", 0), replace(FORK, i=1), token("Yes.", "answer", 2)]
SECOND = [token("No.", "answer", 0)]


def view(script: Callable[[Viewer, Pilot[Any]], Awaitable[None]], tokens: list[Token]) -> Viewer:
    app = Viewer(Recording(replies_of(tokens)))

    async def run() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: isinstance(app.screen, Recording) and app.screen.query("#said"))
            await pilot.pause(0.1)
            await script(app, pilot)

    asyncio.run(run())
    return app


def test_one_reply_at_a_time() -> None:
    async def script(app: Viewer, pilot: Pilot[Any]) -> None:
        assert shown(app, "#token").startswith("reply 1 of 2 · token 1 · 3 shown · wait · thinking")
        assert "L12   ▅ 0.600   ▂ 0.200   H 0.560" in screen_text(app)
        await pilot.press("tab")
        await until(pilot, lambda: "No." in screen_text(app) and "Yes." not in screen_text(app))
        assert shown(app, "#token").startswith("reply 2 of 2 · token 0 · 1 shown · No. · answer")
        assert "Its layers were not looked at. ledlocal chat --trace-all records them." in screen_text(app)
        await pilot.press("right", "end", "n", "up", "c")
        assert app.clipboard == "No."
        await pilot.press("tab", "shift+tab", "shift+tab", "left")
        assert shown(app, "#token").startswith("reply 1 of 2 · token 0")
        await pilot.press("c")
        assert app.clipboard == "Iwait\n\nYes."

    view(script, [*FIRST, *SECOND])


def test_what_needs_an_engine_is_not_offered() -> None:
    async def script(app: Viewer, pilot: Pilot[Any]) -> None:
        keys = {active.binding.key: active.binding.description for active in app.screen.active_bindings.values()
                if active.binding.show and active.enabled}
        assert not {"l", "f", "tab", "j"} & set(keys) and {"c", "s", "n", "f1", "ctrl+q"} <= set(keys)
        assert shown(app, "#token").startswith("token 1 · 3 shown")
        await pilot.press("l", "f", "tab")
        assert isinstance(app.screen, Recording)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        assert [line.split("  ")[-1].strip() for line in shown(app, "#keys").splitlines()] == [
            "help", "quit", "back", "token", "forks", "choose", "copy", "save"]
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, Recording))

    view(script, FIRST)


def test_leaving_the_screen_ends_the_application() -> None:
    async def script(app: Viewer, pilot: Pilot[Any]) -> None:
        await pilot.press("right", "escape")
        await until(pilot, lambda: not app.is_running)

    assert view(script, FIRST).return_code == 0


def test_in_a_real_terminal(tmp_path: Path) -> None:
    with closing(TraceWriter(tmp_path / "two.jsonl")) as writer:
        for one in (*FIRST, *SECOND):
            writer.write(one)
    command = f"cd {tmp_path} && {sys.executable} -P -m ledlocal trace two.jsonl --tui"
    with closing(Tmux(command, 80, 24, tmp_path)) as tmux:
        tmux.tell("set-option", "-s", "set-clipboard", "on")
        shown = tmux.wait_for("f1 help ^q quit esc back tab reply")
        assert "reply 1 of 2 · token 1 · 3 shown · wait · thinking" in shown
        assert "L12   ▅ 0.600   ▂ 0.200   H 0.560" in shown
        tmux.type("c")
        tmux.wait_for("copied thinking and answer, 11 characters")
        assert tmux.tell("show-buffer") == "Iwait\n\nYes."
        tmux.type("s")
        tmux.wait_for("saved 3 tokens in trace-")
        [saved] = tmp_path.glob("trace-*.jsonl")
        assert list(read_trace(saved)) == list(read_trace(tmp_path / "two.jsonl"))[:3]
        tmux.type("Tab")
        tmux.wait_for("reply 2 of 2 · token 0 · 1 shown · No. · answer")
        tmux.type("Escape")
        assert "reply" not in tmux.wait_for("left with 0")
