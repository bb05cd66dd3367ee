"""The terminal UI: screens over one engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.command import CommandPalette

from ledlocal.conversation import Conversation, folder, named, names, outline
from ledlocal.dialogue import Dialogue
from ledlocal.evals.run_folder import runs_in
from ledlocal.models import known
from ledlocal.reply import Engine
from ledlocal.safe_text import safe_line
from ledlocal.settings import Settings
from ledlocal.stores.location import readable
from ledlocal.text_file import user_path
from ledlocal.values.errors import LedlocalError
from ledlocal_tui.application import Application
from ledlocal_tui.kept_run import KeptRun
from ledlocal_tui.loading import Loading
from ledlocal_tui.messages import LoadingEnded
from ledlocal_tui.screens.chat import ChatScreen
from ledlocal_tui.screens.duel import Duel
from ledlocal_tui.screens.picker import Picker
from ledlocal_tui.screens.run import RunScreen
from ledlocal_tui.screens.settings import SettingsDrawer


class LedlocalApp(Application):
    """A model, a conversation, and what is seen of them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f4", "settings", "setup"),
        Binding("f5", "conversations", "history"),
        Binding("f6", "models", "models", priority=True),
        Binding("f7", "runs", "runs", priority=True),
    ]

    def __init__(self, start: Callable[[str | None], Engine], settings: Settings, conversation: Conversation,
                 path: Path | None, template: str | None = None,
                 find: Callable[[str], object] = lambda _name: None) -> None:
        """`start` loads a model by its name, None: the first one; `path`: where the conversation is kept, None:
        nowhere; `template`: of a chat, in the place of the model's own; `find` raises LedlocalError where a name means
        no model."""
        super().__init__()
        self._start, self._settings, self._conversation, self._path = start, settings, conversation, path
        self._template, self._find = template, find
        self._dialogue: Dialogue | None = None
        """What goes on here; None: a new one begins with the first engine."""
        self._model: str | None = None
        """To load; None: the first one."""
        self._loaded: str | None = None
        """What was loaded last: what a model that does not load leaves to go back to."""
        self._loading: Loading | None = None
        self._duel: tuple[str, str] | None = None
        """Settings of the last duel's sides."""
        self.engine: Engine | None = None
        """None while none runs. It is left running for whoever runs the application."""
        self.chat = ChatScreen()

    @classmethod
    def going_on(cls, start: Callable[[str | None], Engine], dialogue: Dialogue, engine: Engine,
                 find: Callable[[str], object] = lambda _name: None) -> LedlocalApp:
        """An application in which a dialogue goes on with the engine that it has."""
        app = cls(start, dialogue.settings, dialogue.conversation, dialogue.path, dialogue.template, find)
        app._dialogue, app.engine, app._model, app._loaded = dialogue, engine, dialogue.model, dialogue.model
        return app

    def on_mount(self) -> None:
        """Load at once; the screen is there meanwhile."""
        self.push_screen(self.chat)
        if self.engine is None:
            self.load()
        else:
            self._begin(self.engine)

    def on_unmount(self) -> None:
        """Stop what runs; what was said stays."""
        if self.engine is not None:
            self.engine.cancel()
        self.chat.leave()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        below = next(screen for screen in reversed(self.screen_stack) if not isinstance(screen, CommandPalette))
        idle = below is self.chat and not self.chat.busy
        if action == "duel":
            return idle and self.engine is not None and self.chat.dialogue is not None and bool(
                self.chat.dialogue.conversation.turns)
        if action == "conversations":
            return idle and self.chat.dialogue is not None
        if action == "settings":  # they hold from the next answer on
            return below is self.chat and self.chat.dialogue is not None
        return idle if action == "models" else below is self.chat if action == "runs" else True

    def load(self) -> None:
        """Start an engine in a thread, unless one is being started."""
        if self._loading is None:
            self._loading = Loading(partial(self._start, self._model), self._tell)

    def _change_to(self, model: str) -> None:
        """Load another model, once the one before, running or being loaded, has left its memory."""
        running, coming = self.engine, self._loading
        self.engine, self._model = None, model

        def make_room() -> None:
            if coming is not None:
                coming.join()
            if running is not None:
                running.close()

        if coming is not None:
            coming.drop()
        self._loading = Loading(partial(self._start, model), self._tell, make_room)

    def _tell(self, loading: Loading) -> None:
        self.post_message(LoadingEnded(loading))

    @property
    def loads(self) -> bool:
        """A model is being loaded."""
        return self._loading is not None

    def finish_loading(self) -> None:
        """Wait for an engine that was still being loaded when the user left. Raises LedlocalError."""
        if self._loading is not None:
            self._take(self._loading.wait())

    def drop_engine(self) -> None:
        """End the engine, if one runs or is being loaded."""
        if self._loading is not None:
            self._loading.drop()
            self._loading = None
        if self.engine is not None:
            self.engine.close()
            self.engine = None

    def engine_lost(self) -> bool:
        """Whether none runs; one that died while nobody asked it anything is dropped."""
        if self.engine is not None and self.engine.died:
            self.drop_engine()
        return self.engine is None

    @on(LoadingEnded)
    def loading_ended(self, event: LoadingEnded) -> None:
        """A dialogue begins, or goes on with a new engine; unless another one is wanted by now."""
        if event.loading is not self._loading:
            return
        if event.loading.engine is not None:
            self._begin(event.loading.engine)
        else:
            self._not_loaded(event.loading.reason)

    def _begin(self, engine: Engine) -> None:
        """With the chat's own messages, between which a long conversation is laid out: a key must not wait for it."""
        self.chat.call_later(self.chat.begin, self._take(engine))

    def _not_loaded(self, reason: str) -> None:
        """Say why; another model's failure leaves the way back to the one before."""
        self._loading = None
        back = self._model != self._loaded
        self._model = self._loaded
        self.chat.say(f"{reason}\nctrl+r {'loads the model before it' if back else 'tries again'}")
        self.chat.refresh_bindings()

    def _take(self, engine: Engine) -> Dialogue:
        """An engine is there: what it goes on with."""
        self._loading, self.engine, self._loaded = None, engine, self._model
        if self._dialogue is None:
            self._dialogue = Dialogue(engine.loaded, self._settings, self._conversation, self._path, self._note)
            self._dialogue.template = self._template
        self._dialogue.note = self._note
        self._dialogue.served_by(engine.loaded, self._model)
        return self._dialogue

    def _note(self, text: str) -> None:
        self.notify(safe_line(text), markup=False)

    def action_duel(self) -> None:
        """Answer the last message in two ways, beside the conversation."""
        dialogue, died = self.chat.dialogue, self.engine and self.engine.died
        if self.engine_lost():
            self.chat.say(f"{died or 'no engine runs'}\nctrl+r loads the model again")
        elif dialogue is not None and self.engine is not None:
            message = dialogue.conversation.turns[-1].user
            duel = Duel(self.engine, dialogue.settings, message, dialogue.again_with, self._duel)
            self.push_screen(duel, self._keep_duel)

    def _keep_duel(self, words: tuple[str, str] | None) -> None:
        self._duel = words

    @work
    async def action_settings(self) -> None:
        """How the next answer is drawn."""
        dialogue = self.chat.dialogue
        if dialogue is None or not self.check_action("settings", ()):  # the key came twice
            return
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
        kept = await asyncio.to_thread(
            lambda: [(name, *outline(name), name if named(name) else "") for name in names()])
        if not self.check_action("conversations", ()):  # something else has begun meanwhile
            return
        name = await self.push_screen_wait(Picker("Go on with a conversation", kept, "none is kept yet"))
        if name is not None:
            self.chat.call_later(self.chat.load, folder() / f"{name}.jsonl")

    @work(exclusive=True, group="models")
    async def action_models(self) -> None:
        """Talk to another model; the conversation goes on."""
        unreadable: list[str] = []
        searching = "looking for models ..."
        before = self.chat.say(searching)
        here = await asyncio.to_thread(lambda: list(known(unreadable)))  # folders are read, large libraries imported
        found = [(one.name, one.name, readable(one.size), one.origin) for one in here]
        if self.chat.banner == searching:
            self.chat.say(before)
        if not self.check_action("models", ()):
            return
        for sentence in unreadable:
            self.notify(safe_line(sentence), markup=False)
        name = await self.push_screen_wait(Picker("Talk to a model, or type a path or user/repo[:quant]", found,
                                                  "no model was found", free=True))
        if name is not None:
            self.chat.say(f"looking for {name} ...")
            try:
                await asyncio.to_thread(self._find, name)
            except LedlocalError as error:  # the one that runs stays
                self.chat.say(str(error))
                return
            if self.check_action("models", ()):
                self.chat.say(f"loading {name} ...")
                self._change_to(name)
            else:  # something else has begun meanwhile
                self.chat.say(f"{name} was found; f6 loads it", passing=True)

    @work
    async def action_runs(self) -> None:
        """Look at a run of `ledlocal eval`, finished or growing."""
        here = await asyncio.to_thread(lambda: [*runs_in(Path("runs")), *runs_in(Path())])
        if not self.check_action("runs", ()):
            return
        found = [(str(path), str(path)) for path in here]
        name = await self.push_screen_wait(Picker("Look at a run, or type its folder", found,
                                                  "none is here or in ./runs: `ledlocal eval` makes one", free=True))
        if name is not None:
            try:
                path = user_path(name)
                run = await asyncio.to_thread(KeptRun, path)
            except LedlocalError as error:
                self.chat.say(str(error))
            else:
                self.push_screen(RunScreen(run, path))
