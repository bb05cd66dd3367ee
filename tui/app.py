"""The terminal UI: screens over one engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import App
from textual.binding import Binding, BindingType

from ledlocal.conversation import Conversation
from ledlocal.dialogue import Dialogue
from ledlocal.reply import Engine
from ledlocal.safe_text import safe_line
from ledlocal.settings import Settings
from ledlocal.values.errors import LedlocalError
from ledlocal_tui.messages import EngineFailed, EngineLoaded
from ledlocal_tui.screens.chat import ChatScreen


class LedlocalApp(App[None]):
    """A model, a conversation, and what is seen of them."""

    CSS_PATH = "app.tcss"
    TITLE = "ledlocal"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 (Textual's own annotation is no ClassVar)
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "quit", "quit", priority=True)]

    def __init__(self, start: Callable[[], Engine], settings: Settings, conversation: Conversation,
                 path: Path | None) -> None:
        """`start` loads the model; `path`: where the conversation is kept, None: nowhere."""
        super().__init__()
        self._start, self._settings, self._conversation, self._path = start, settings, conversation, path
        self.engine: Engine | None = None
        """None while none runs."""
        self.chat = ChatScreen()

    def on_mount(self) -> None:
        """Load at once; the screen is there meanwhile."""
        self.push_screen(self.chat)
        self.load()

    def on_unmount(self) -> None:
        """End the engine."""
        self.drop_engine()

    @work(thread=True, exclusive=True, exit_on_error=False, group="engine")
    def load(self) -> None:
        """Start an engine in a thread."""
        try:
            self.post_message(EngineLoaded(self._start()))
        except LedlocalError as error:
            self.post_message(EngineFailed(str(error)))

    def drop_engine(self) -> None:
        """End the engine, if one runs."""
        if self.engine is not None:
            self.engine.close()
            self.engine = None

    @on(EngineLoaded)
    async def engine_loaded(self, event: EngineLoaded) -> None:
        """A dialogue begins, or goes on with a new engine."""
        self.engine = event.engine
        dialogue = self.chat.dialogue
        if dialogue is None:
            dialogue = Dialogue(event.engine.loaded, self._settings, self._conversation, self._path,
                                lambda text: self.notify(safe_line(text), markup=False))
        dialogue.loaded = event.engine.loaded
        await self.chat.begin(dialogue)

    @on(EngineFailed)
    def engine_failed(self, event: EngineFailed) -> None:
        """Say why."""
        self.chat.say(f"{event.reason}\nctrl+r tries again")
