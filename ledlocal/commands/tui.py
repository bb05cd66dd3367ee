"""`ledlocal tui`: a conversation on a whole screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ledlocal.commands.chat_flags import tui_flags
from ledlocal.commands.session import engine_options, settings_of, setup_of, start_engine
from ledlocal.commands.values import Configured
from ledlocal.values.errors import BadInput

if TYPE_CHECKING:
    from ledlocal.reply import Engine


@click.command(cls=Configured)
@tui_flags
def tui(words: tuple[str, ...], model: str | None, **flags: Any) -> None:
    """Talk to MODEL and watch it choose between its layers. [demo]"""
    from ledlocal.terminal import require_terminal

    if len(words) > 1:
        raise BadInput(f"one word too many: {words[1]!r}; the message is typed on the screen")
    require_terminal("`ledlocal chat` works in a pipe, too")
    settings = settings_of(flags)
    setup = setup_of(words[0] if words else model or flags["hf_repo"], settings, flags)
    from ledlocal.config import read_config
    from ledlocal.models import resolve
    from ledlocal_tui.app import LedlocalApp

    def start(name: str | None) -> Engine:
        options = setup.options
        if name is not None:
            location = resolve(name, offline=flags["offline"], aliases=read_config().models)
            options = engine_options(location.path, settings.deepest(), flags)
        return start_engine(options)

    LedlocalApp(start, settings, setup.conversation, setup.path).run()
