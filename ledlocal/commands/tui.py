"""`ledlocal tui`: a conversation on a whole screen; and `/tui` of a chat, which goes on there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ledlocal.commands.chat_flags import tui_flags
from ledlocal.commands.session import options_of, settings_of, setup_of, start_engine
from ledlocal.commands.values import Configured
from ledlocal.values.errors import BadInput

if TYPE_CHECKING:
    from ledlocal.chat import Chat
    from ledlocal.reply import Engine
    from ledlocal.values.params import EngineOptions


@click.command(cls=Configured)
@tui_flags
def tui(words: tuple[str, ...], model: str | None, **flags: Any) -> None:
    """Talk to MODEL and watch it choose between its layers. [demo]"""
    from ledlocal.terminal import require_drawable

    if len(words) > 1:
        raise BadInput(f"one word too many: {words[1]!r}; the message is typed on the screen")
    require_drawable("`ledlocal chat` works in a pipe, too")
    settings = settings_of(flags)
    setup = setup_of(words[0] if words else model or flags["hf_repo"], settings, flags)
    from ledlocal_tui.app import LedlocalApp

    def find(name: str) -> EngineOptions:
        return options_of(name, settings.deepest(), flags)

    def start(name: str | None) -> Engine:
        return start_engine(setup.options if name is None else find(name))

    app = LedlocalApp(start, settings, setup.conversation, setup.path, setup.options.chat_template, find)
    try:
        app.show()
    finally:
        app.drop_engine()
    sys.exit(app.return_code)


def go_on(start: Callable[[str | None], Engine], find: Callable[[str], object], chat: Chat,
          engine: Engine) -> Engine | None:
    """Show a chat on a whole screen, with its engine; the one that runs when the user leaves it, None if none does."""
    from ledlocal_tui.app import LedlocalApp

    app = LedlocalApp.going_on(start, chat, engine, find)
    try:
        app.show()
        if app.return_code and app.return_code > 128:  # a signal
            sys.exit(app.return_code)
        with chat.console.waiting("loading"):
            app.finish_loading()
    except BaseException:
        app.drop_engine()
        raise
    return app.engine
