"""What every application of ours has: its look, help, a way out, and a terminal that is put back."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.screen import Screen

from ledlocal_tui.screens.help import HelpScreen, offered
from ledlocal_tui.screens.once import Palette

GARBAGE = 20_000
"""New objects that start a search for cycles among them. At Python's 700 every redraw starts some, and one a second
walks through all tokens of a long reply."""

HANDLED = (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTERM,
           signal.SIGHUP)
"""Signals that Textual, or we, take and Textual does not give back."""


class Application(App[None]):
    """Ends with Ctrl-Q; with a signal it ends as well, and its return code says so."""

    CSS_PATH = "app.tcss"
    TITLE = "ledlocal"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 (Textual's own annotation is no ClassVar)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "quit", priority=True),
        Binding("f1", "help", "help"),
    ]

    def on_mount(self) -> None:
        """Ready for long replies, and for signals: the terminal is to be put back."""
        gc.set_threshold(GARBAGE)
        if not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, partial(self.exit, return_code=128 + number))

    def show(self) -> None:
        """Run it, and put back what it takes for itself."""
        before, threshold = {number: signal.getsignal(number) for number in HANDLED}, gc.get_threshold()
        try:
            self.run()
        finally:
            gc.set_threshold(*threshold)
            for number, handler in before.items():
                signal.signal(number, handler)

    def get_system_commands(self, screen: Screen[Any]) -> Iterator[SystemCommand]:
        """Textual's own, and every key of the screen in front."""
        yield from super().get_system_commands(screen)
        seen = {"quit", "command_palette"}
        for binding, node in offered(screen):
            if (name := binding.action.rpartition(".")[2]) not in seen:
                seen.add(name)
                yield SystemCommand(binding.description.capitalize(), f"key {self.get_key_display(binding)}",
                                    partial(self.run_action, binding.action, node))

    def action_command_palette(self) -> None:
        """Commands by name."""
        if not isinstance(self.screen, CommandPalette):
            self.push_screen(Palette(id="--command-palette"))

    def action_help(self) -> None:
        """The keys of the screen in front, and the signs."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen.of(self.screen))
