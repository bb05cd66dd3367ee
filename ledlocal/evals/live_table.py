"""A run's progress as a table: live on a terminal, now and then in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ledlocal.evals.observer import Underway
from ledlocal.evals.plan import Plan
from ledlocal.evals.progress import Progress
from ledlocal.evals.run_folder import Key
from ledlocal.evals.task import Problems
from ledlocal.terminal import Console
from ledlocal.values.params import Detail

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

PLAIN_FIRST_S, PLAIN_EVERY_S = 10.0, 60.0
LIVE_EVERY_S = 0.5


class LiveTable(Progress):
    """An Observer with a terminal."""

    detail: Detail = "none"

    def __init__(self, plan: Plan, problems: Problems, console: Console,
                 clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(plan, problems, clock)
        self._console = console
        self._shown_at = 0.0
        self._said = False
        """In a pipe, the table was shown before."""
        self._live: Live | None = None

    def heard(self, key: Key, event: Underway) -> None:
        """A table has no room for samples under way."""

    def note(self, text: str) -> None:
        """Something to say once; above the table."""
        if self._live is None:
            self._console.note(text)
            return
        self._live.transient = True
        self._live.stop()
        self._console.note(text)
        self._live.transient = False
        self._live.start(refresh=True)

    def begin(self, cancel: Callable[[Key], bool]) -> None:
        """What is told from now on is this session's work. A table cancels nothing."""
        self.start()
        self._shown_at = self._clock()
        if not self._console.quiet and self._console.err.erases:
            self._live = self._on_terminal()
            self._live.start(refresh=True)

    def tick(self) -> None:
        """Show how it stands, if it was not shown just before."""
        every = LIVE_EVERY_S if self._live else PLAIN_EVERY_S if self._said else PLAIN_FIRST_S
        if self._began is not None and self._clock() - self._shown_at >= every:
            self._shown_at = self._clock()
            if self._live:
                self._live.update(self._table(), refresh=True)
            else:
                self._said = True
                for line in self.lines():
                    self._console.info(line)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within, a terminal shows the table from `begin` on."""
        try:
            yield
        finally:
            if self._live is not None:
                # what is whole is shown in full right after
                self._live.transient = self.done == self.total
                self._live.update(self._table(), refresh=True)
                self._live.stop()
                self._live = None

    def _on_terminal(self) -> Live:
        from rich.console import Console as RichConsole
        from rich.live import Live

        return Live(self._table(), console=RichConsole(stderr=True, highlight=False), auto_refresh=False,
                    redirect_stderr=False)

    def _table(self) -> Text:
        from rich.text import Text

        return Text("\n".join(self.lines()), no_wrap=True, overflow="ellipsis")
