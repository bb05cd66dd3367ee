"""The conversation, and beside it what the model does between its layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.events import Key

from ledlocal.conversation import path_of
from ledlocal.dialogue import Dialogue
from ledlocal.models import DEMO
from ledlocal.said import Said
from ledlocal.slash import OF_A_DIALOGUE
from ledlocal.values.errors import BadInput, LedlocalError, OutOfResources
from ledlocal.values.events import Token
from ledlocal_tui.answering import look
from ledlocal_tui.commands import KEYS, command_of
from ledlocal_tui.feed import Feed
from ledlocal_tui.inspected import Branch, Inspected, first_fork
from ledlocal_tui.messages import Submitted
from ledlocal_tui.screens.inspector import Inspector
from ledlocal_tui.screens.page import Page
from ledlocal_tui.screens.replying import Replying
from ledlocal_tui.widgets.prompt import Prompt
from ledlocal_tui.widgets.token_text import TokenText
from ledlocal_tui.widgets.turn import TurnView

NOT_NOW = ("f3", "f5", "f6", "ctrl+g", "ctrl+n", "ctrl+r")
"""Keys that do nothing while it answers, and say so."""
IN_THE_BANNER = 4
"""Lines of what a command says; a page has room for more."""
PLACEHOLDER = "Ask something; /help lists keys"
OF_THE_DEMO = "A number puzzle: Use 3, 4, 5 and 7 to make 30."


class ChatScreen(Replying):
    """One conversation with one model: what keys do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "stop", "stop", priority=True),
        Binding("ctrl+e", "answer_now", "answer now", priority=True),
        Binding("ctrl+t", "fold", "fold", priority=True),
        Binding("ctrl+o", "mark", "marks", priority=True),
        Binding("ctrl+l", "layers", "every layer", priority=True),
        Binding("ctrl+r", "restart", "restart", priority=True),
        Binding("ctrl+r", "again", "again", priority=True),
        Binding("ctrl+g", "go_on", "go on", priority=True),
        Binding("ctrl+n", "start_over", "new", priority=True),
        Binding("f2", "screen.inspect", "inspect"),
        Binding("f3", "app.duel", "duel"),
    ]

    _model: str | None = None
    """Whose tokens are seen."""

    def on_mount(self) -> None:
        """Ready for a model."""
        self.say("loading ...")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        turns = self.dialogue.conversation.turns if self.dialogue else ()
        if action in ("stop", "answer_now"):
            return self.busy
        if action == "start_over":
            return not self.busy and self.dialogue is not None and bool(turns or self.dialogue.attached)
        if action == "again":
            return not self.busy and not self.app.loads and (bool(turns) or self.app.engine is None)
        if action == "restart":
            return not self.busy and not self.app.loads and self.app.engine is None
        if action in ("inspect", "mark"):
            return self.conversation.last_said is not None
        if action == "layers":  # a trace of all of them has them anyhow
            return self.dialogue is None or self.dialogue.settings.detail != "all"
        if action == "go_on":
            return not self.busy and self.app.engine is not None and bool(turns and turns[-1].ids) and not self.full
        return True

    def on_key(self, event: Key) -> None:
        """What no key of ours took."""
        if self.busy and event.key in NOT_NOW:
            self.say(self._why_not, passing=True)

    @property
    def _why_not(self) -> str:
        return "it answers; ctrl+c stops it" if self.answering else "not yet"

    async def begin(self, dialogue: Dialogue) -> None:
        """A model is loaded."""
        first, self.dialogue = self.dialogue is None, dialogue
        another, self._model, self.lost = dialogue.model != self._model, dialogue.model, ""
        self.say("")
        if first:
            await self.show_conversation()
        elif another:
            for view in self.conversation.turns:
                view.request = None  # it can be looked at no more: its tokens mean nothing to this model
        self.query_one(Prompt).placeholder = OF_THE_DEMO if Path(dialogue.loaded.model.path) == DEMO else PLACEHOLDER
        self.say_notices(*dialogue.loaded.notices)
        self.show_status()
        self.refresh_bindings()

    async def load(self, path: Path) -> None:
        """Go on with the conversation in a file."""
        if self.dialogue is None or self.busy:  # something else has begun meanwhile
            return
        try:
            self.dialogue.load(path)
        except BadInput as error:
            self.say(str(error))
        else:
            self.say("")
            await self.show_conversation()

    async def show_conversation(self, kept: int = 0) -> None:
        """A view for every turn, in the place of those that are there, but for the first `kept`."""
        with self.changing():
            await super().show_conversation(kept)
        self.refresh_bindings()

    @on(Submitted)
    async def ask(self, event: Submitted) -> None:
        """Answer what the user typed, or carry it out."""
        try:
            command = command_of(event.text)
            if command is not None and command[0] in KEYS and not command[1]:
                if not await self.app.run_action(KEYS[command[0]], self):
                    raise BadInput("not now")
            elif self.dialogue is None or self.app.loads:
                raise BadInput("the model is being loaded" if self.app.loads else "the model is not ready")
            elif self.busy:
                raise BadInput(self._why_not)
            elif command is None:
                await self.answer(self.dialogue.new(event.text))
            else:
                await self._carry_out(self.dialogue, *command)
        except LedlocalError as error:
            self.query_one(Prompt).give_back(event.text)
            self.say(str(error), passing=True)

    async def _carry_out(self, dialogue: Dialogue, name: str, rest: str) -> None:
        """A command of the chat; what it says is shown here. Raises LedlocalError."""
        if name == "/load":
            dialogue.load(path_of(rest))
            self.say("")
            await self.show_conversation()
            return
        said: list[str] = []
        before, say, dialogue.say = dialogue.conversation.turns, dialogue.say, said.append
        try:
            OF_A_DIALOGUE[name](dialogue, rest)
        except OutOfResources as error:  # done, but not kept
            said.append(str(error))
        finally:
            dialogue.say = say
        self.show_status()
        if (turns := dialogue.conversation.turns) != before:
            await self.show_conversation(len(turns) if turns == before[:len(turns)] else 0)
        lines = "\n".join(said).splitlines()
        if len(lines) <= IN_THE_BANNER:
            self.say("\n".join(lines), passing=True)
        else:
            self.app.push_screen(Page("\n".join(lines)))

    def action_fold(self) -> None:
        """Fold or unfold every thought."""
        self.conversation.fold()

    async def action_mark(self) -> None:
        """Show answers token by token with their marks, or as Markdown."""
        await self.conversation.mark()

    def action_layers(self) -> None:
        """From now on, look into the layers at every thinking token, or only where it explores."""
        self.looking.every_layer = not self.looking.every_layer
        if self.answering is not None:
            self.looking.switch()
            self.watch_detail()
        self.show_status()
        self.app.notify("every thinking token is looked into; once there are 20 tokens and half a second of both, its "
                        "speed is shown beside the one without" if self.looking.every_layer else
                        "only explored tokens are looked into", markup=False)

    async def action_again(self) -> None:
        """Answer the last message again; while no engine runs, load one."""
        if self.app.engine_lost():
            self.action_restart()
        elif self.dialogue is not None and self.dialogue.conversation.turns and not self.busy:
            with self.changing():
                await self.conversation.turns[-1].remove()
                await self.answer(self.dialogue.repeated())

    def action_restart(self) -> None:
        """Load the model again; why there is none stays in sight."""
        self.say(f"{self.lost}\nloading ..." if self.lost else "loading ...")
        self.app.load()
        self.refresh_bindings()

    async def action_go_on(self) -> None:
        """Go on with the last answer where it was stopped."""
        if self.dialogue is not None and not self.busy:
            await self.answer(self.dialogue.continued(), self.conversation.turns[-1])

    async def action_inspect(self) -> None:
        """Look at the last reply token by token; at what there is of one that comes."""
        if view := self.conversation.last_said:
            await self._inspect(view, first_fork(view.tokens))

    @on(TokenText.Picked)
    async def inspect_picked(self, event: TokenText.Picked) -> None:
        """Look at the token that was clicked on."""
        await self._inspect(*self.conversation.place_of(event.control, event.index))

    async def _inspect(self, view: TurnView, at: int) -> None:
        views = [one for one in self.conversation.turns if one.tokens]

        async def branch(chosen: Branch | None) -> None:
            if chosen is not None:
                await self._branch(views[chosen.reply], chosen.tokens)

        await self.app.push_screen(Inspector(list(map(self._inspected, views)), views.index(view), at), branch)

    def _inspected(self, view: TurnView) -> Inspected:
        tokens = list(view.tokens)

        def ask() -> Callable[[int], Feed] | None:
            engine, request = self.app.engine, view.request
            return None if engine is None or request is None or self.busy else partial(look, engine, request, tokens)

        return Inspected(tokens, view.tokens, ask, lambda: self.lost)

    async def _branch(self, view: TurnView, tokens: tuple[Token, ...]) -> None:
        """Go on with another token; the conversation up to now stays in its file."""
        assert self.dialogue is not None and view.request is not None
        with self.changing():
            place = self.conversation.turns.index(view)
            said = Said(view.request, tokens, view.turn.thinking, view.turn.answer)
            exchange = self.dialogue.forked(place, said)
            await self.conversation.cut(place)
            await self.answer(exchange)

    async def action_start_over(self) -> None:
        """A new conversation."""
        if self.dialogue is not None and not self.busy:
            self.dialogue.start_over()
            self.say("")
            await self.show_conversation()
