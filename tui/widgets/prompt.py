"""The message being typed."""

from __future__ import annotations

from typing import ClassVar, cast

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.keys import Keys
from textual.widgets import TextArea

from ledlocal_tui.messages import Submitted
from ledlocal_tui.widgets.field import in_order

NEW_LINE = ("shift+enter", "alt+enter", "ctrl+j")
"""Terminals differ in which of them they tell from Enter."""
# most terminals' Alt-Enter, in which Textual sees Enter alone
cast(dict[str, object], ANSI_SEQUENCES_KEYS)["\x1b\r"] = (Keys.ControlJ,)


class Prompt(TextArea):
    """Enter sends, unless the line ends in a backslash; Up and Down at its edges go through what was sent before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "send"),
        Binding("escape", "leave", "read"),
    ]

    def __init__(self) -> None:
        super().__init__(id="prompt", show_line_numbers=False, tab_behavior="focus", compact=True,
                         highlight_cursor_line=False)
        self._sent: list[str] = []
        self._at = 0
        """Which of them is shown; their number: none."""
        self._draft = ""
        """What was typed, while one of them is shown."""

    def give_back(self, text: str) -> None:
        """What could not be sent, to go on with; before what was typed since."""
        self.text = "\n".join(filter(None, (text, self.text)))
        self.move_cursor(self.document.end)

    def action_send(self) -> None:
        """Hand the message over, or begin a new line of it."""
        text = self.text.strip()
        if self.text.endswith("\\") and self.cursor_location == self.document.end:
            self.action_delete_left()
            self.insert("\n")
        elif text:
            self._sent.append(text)
            self._at = len(self._sent)
            self.clear()
            self.post_message(Submitted(text))

    def take(self, text: str) -> None:
        """Go on with the message: `text` was meant for it."""
        self.focus()
        self.insert(text)

    def action_leave(self) -> None:
        """To the conversation, where arrows scroll and two letters are keys."""
        self.screen.query_one("#conversation").focus()

    async def _on_key(self, event: Key) -> None:
        if event.key == "enter":  # no priority: letters that came in one piece with it are inserted before
            event.prevent_default().stop()
            self.action_send()
        elif event.key in NEW_LINE:
            event.prevent_default().stop()
            self.insert("\n")
        elif event.key == "up" and self.cursor_location[0] == 0 and self._at > 0:
            event.prevent_default().stop()
            self._show(self._at - 1)
        elif event.key == "down" and self.cursor_location[0] == self.document.line_count - 1 and (
                self._at < len(self._sent)):
            event.prevent_default().stop()
            self._show(self._at + 1)
        else:
            await in_order(self, event)

    def _show(self, which: int) -> None:
        if self._at == len(self._sent):
            self._draft = self.text
        self._at = which
        self.text = self._sent[which] if which < len(self._sent) else self._draft
        self.move_cursor(self.document.end)
