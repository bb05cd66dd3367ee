"""A recorded trace, token by token: one reply at a time."""

from __future__ import annotations

from collections.abc import Sequence

from ledlocal.values.events import Token
from ledlocal_tui.inspected import Inspected, first_fork
from ledlocal_tui.screens.inspector import Inspector


class Recording(Inspector):
    """Looks at what a file holds; no engine can be asked for more."""

    def __init__(self, replies: Sequence[Sequence[Token]]) -> None:
        """`replies`: at least one, none of them empty."""
        super().__init__([Inspected(list(reply)) for reply in replies], 0, first_fork(replies[0]))

    @property
    def hint(self) -> str:
        """Another recording has them."""
        return "ledlocal chat --trace-all records them."
