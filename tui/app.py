"""The terminal UI: screens over one engine."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.dom import DOMNode
from textual.screen import Screen

from ledlocal.conversation import Conversation, first_words, names, path_of
from ledlocal.dialogue import Dialogue
from ledlocal.models import known
from ledlocal.reply import Engine
from ledlocal.safe_text import safe_line
from ledlocal.settings import Settings
from ledlocal.stores.location import readable
from ledlocal.values.errors import BadInput, LedlocalError
from ledlocal_tui.messages import EngineFailed, EngineLoaded
from ledlocal_tui.screens.chat import ChatScreen
from ledlocal_tui.screens.duel import Duel
from ledlocal_tui.screens.help import HelpScreen
from ledlocal_tui.screens.picker import Picker
from ledlocal_tui.screens.settings import SettingsDrawer

GARBAGE = 20_000
"""New objects that start a search for cycles among them. At Python's 700 every redraw starts some, and one a second
walks through all tokens of a long reply."""


class LedlocalApp(App[None]):
    """A model, a conversation, and what is seen of them."""

    CSS_PATH = "app.tcss"
    TITLE = "ledlocal"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012 (Textual's own annotation is no ClassVar)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "quit", priority=True),
        Binding("f1", "help", "help"),
        Binding("f4", "settings", "settings"),
        Binding("f5", "conversations", "conversations"),
        Binding("f6", "models", "models", priority=True),
    ]

    def __init__(self, start: Callable[[str | None], Engine], settings: Settings, conversation: Conversation,
                 path: Path | None) -> None:
        """`start` loads a model by its name, None: the first one; `path`: where the conversation is kept, None:
        nowhere."""
        super().__init__()
        self._start, self._settings, self._conversation, self._path = start, settings, conversation, path
        self._model: str | None = None
        """To load; None: the first one."""
        self._loaded: str | None = None
        """What was loaded last: what a model that does not load leaves to go back to."""
        self.engine: Engine | None = None
        """None while none runs."""
        self.chat = ChatScreen()

    def on_mount(self) -> None:
        """Load at once; the screen is there meanwhile."""
        gc.set_threshold(GARBAGE)
        self.push_screen(self.chat)
        self.load()

    def on_unmount(self) -> None:
        """End the engine."""
        self.drop_engine()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        below = next(screen for screen in reversed(self.screen_stack) if not isinstance(screen, CommandPalette))
        idle = below is self.chat and self.chat.answering is None
        if action == "duel":
            return idle and self.engine is not None and self.chat.dialogue is not None and bool(
                self.chat.dialogue.conversation.turns)
        if action in ("settings", "conversations"):
            return idle and self.chat.dialogue is not None
        return idle if action == "models" else True

    def get_system_commands(self, screen: Screen[Any]) -> Iterator[SystemCommand]:
        """Textual's own, and every key of the screen in front."""
        yield from super().get_system_commands(screen)
        for binding, node in self._offered(screen):
            if binding.action not in ("quit", "command_palette"):
                yield SystemCommand(binding.description.capitalize(), f"key {self.get_key_display(binding)}",
                                    partial(self.run_action, binding.action, node))

    def _offered(self, screen: Screen[Any]) -> Iterator[tuple[Binding, DOMNode]]:
        """Keys that do something now, and whose they are."""
        return ((active.binding, active.node) for active in screen.active_bindings.values()
                if active.binding.show and active.enabled)

    @work(thread=True, exclusive=True, group="engine")
    def load(self) -> None:
        """Start an engine in a thread."""
        try:
            self.post_message(EngineLoaded(self._start(self._model)))
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
        self.engine, self._loaded = event.engine, self._model
        dialogue = self.chat.dialogue
        if dialogue is None:
            dialogue = Dialogue(event.engine.loaded, self._settings, self._conversation, self._path,
                                lambda text: self.notify(safe_line(text), markup=False))
        dialogue.loaded = event.engine.loaded
        if self._model is not None:
            dialogue.conversation = dialogue.conversation.under(self._model)
        await self.chat.begin(dialogue)

    def action_help(self) -> None:
        """The keys of the screen in front, and the signs."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen([(self.get_key_display(binding), binding.description)
                                         for binding, _ in self._offered(self.screen)]))

    def action_duel(self) -> None:
        """Answer the last message in two ways, beside the conversation."""
        dialogue = self.chat.dialogue
        if dialogue is not None and self.engine is not None:
            message = dialogue.conversation.turns[-1].user
            self.push_screen(Duel(self.engine, dialogue.settings, message, dialogue.again_with))

    @work
    async def action_settings(self) -> None:
        """How the next answer is drawn."""
        dialogue = self.chat.dialogue
        assert dialogue is not None
        chosen = await self.push_screen_wait(SettingsDrawer(dialogue))
        if chosen is not None:
            dialogue.settings = chosen
            self.chat.say_notices()
            self.chat.show_status()

    @work
    async def action_conversations(self) -> None:
        """Go on with a kept conversation."""
        dialogue = self.chat.dialogue
        assert dialogue is not None
        kept = [(name, f"{name}  {first_words(name)}") for name in names()]
        name = await self.push_screen_wait(Picker("Go on with a conversation", kept))
        if name is not None:
            try:
                dialogue.load(path_of(name))
            except BadInput as error:
                self.chat.say(str(error))
            else:
                await self.chat.show_conversation()

    @work
    async def action_models(self) -> None:
        """Talk to another model; the conversation goes on."""
        unreadable: list[str] = []
        self.chat.say("looking for models ...")
        here = await asyncio.to_thread(lambda: list(known(unreadable)))  # folders are read, large libraries imported
        found = [(one.name, f"{one.name}  {readable(one.size)}  {one.origin}") for one in here]
        self.chat.say("")
        for sentence in unreadable:
            self.notify(safe_line(sentence), markup=False)
        name = await self.push_screen_wait(Picker("Talk to a model, or type a path or user/repo[:quant]", found,
                                                  free=True))
        if name is not None:
            self._model = name
            self.drop_engine()
            self.chat.say(f"loading {name} ...")
            self.load()

    @on(EngineFailed)
    def engine_failed(self, event: EngineFailed) -> None:
        """Say why; another model's failure leaves the way back to the one before."""
        back = self._model != self._loaded
        self._model = self._loaded
        self.chat.say(f"{event.reason}\nctrl+r {'loads the model before it' if back else 'tries again'}")
        self.chat.refresh_bindings()
