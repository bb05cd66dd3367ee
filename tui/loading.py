"""A model that is being loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ledlocal.reply import Engine
from ledlocal.values.errors import LedlocalError


class Loading:
    """Starts an engine in a thread of its own. Nobody has to wait for it: it ends with the process, and so does what
    it has started."""

    def __init__(self, start: Callable[[], Engine], tell: Callable[[Loading], object],
                 make_room: Callable[[], object] = lambda: None) -> None:
        """`make_room` comes first, in that thread, and `tell` last, unless the engine is dropped meanwhile."""
        self._start, self._tell, self._make_room = start, tell, make_room
        self.engine: Engine | None = None
        """None while there is none."""
        self.reason = "the model was not loaded"
        """Why there is none in the end."""
        self._lock = threading.Lock()
        self._dropped = False
        self._thread = threading.Thread(target=self._load, name="loading a model", daemon=True)
        self._thread.start()

    def wait(self) -> Engine:
        """The engine, however long it takes. Raises LedlocalError."""
        self.join()
        if self.engine is not None:
            return self.engine
        raise LedlocalError(self.reason)

    def join(self) -> None:
        """Wait until nothing is started any more: there is an engine, or none will be."""
        self._thread.join()

    def drop(self) -> None:
        """Nobody wants the engine any more: none is started, and one that is there, or coming, is closed."""
        with self._lock:
            self._dropped = True
            if self.engine is not None:
                self.engine.close()

    def _load(self) -> None:
        self._make_room()
        if self._dropped:
            return
        engine = None
        try:
            engine = self._start()
        except LedlocalError as error:
            self.reason = str(error)
        except Exception as error:  # a mistake of ours: the user is to know why nothing comes
            self.reason = f"unexpected {type(error).__name__}: {error}"
        with self._lock:
            self.engine = engine
            if self._dropped:
                if engine is not None:
                    engine.close()
                return
        self._tell(self)
