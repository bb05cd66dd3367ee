"""A recorded trace, token by token: one reply at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from ledlocal.values.events import Token
from ledlocal_tui.screens.inspector import Inspector, first_fork


class Recording(Inspector):
    """Looks at what a file holds; no engine can be asked for more."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "reply(1)", "reply"),
        Binding("shift+tab", "reply(-1)", show=False),
    ]

    def __init__(self, replies: Sequence[Sequence[Token]]) -> None:
        """`replies`: at least one, none of them empty."""
        super().__init__(replies[0], first_fork(replies[0]), None)
        self._replies, self._which = replies, 0

    @property
    def hint(self) -> str:
        """Another recording has them."""
        return "ledlocal chat --trace-all records them."

    @property
    def heading(self) -> str:
        """Which reply, where there are several."""
        return f"reply {self._which + 1} of {len(self._replies)} · " if len(self._replies) > 1 else ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that would do nothing now are not offered."""
        return len(self._replies) > 1 if action == "reply" else super().check_action(action, parameters)

    def action_reply(self, step: int) -> None:
        """To another reply; the first one comes behind the last."""
        self._which = (self._which + step) % len(self._replies)
        reply = self._replies[self._which]
        self.show_reply(reply, first_fork(reply))
