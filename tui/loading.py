"""A model that is being loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ledlocal.reply import Engine
from ledlocal.values.errors import LedlocalError
from ledlocal_tui.messages import EngineFailed, EngineLoaded


class Loading:
    """Starts an engine in a thread of its own. Nobody has to wait for it: it ends with the process, and so does what
    it has started."""

    def __init__(self, start: Callable[[], Engine], tell: Callable[[EngineLoaded | EngineFailed], object]) -> None:
        """`tell` is called in that thread, in the end."""
        self._start, self._tell = start, tell
        self._end: EngineLoaded | EngineFailed | None = None
        self._lock = threading.Lock()
        self._dropped = False
        self._thread = threading.Thread(target=self._load, name="loading a model", daemon=True)
        self._thread.start()

    @property
    def engine(self) -> Engine | None:
        """None while there is none."""
        return self._end.engine if isinstance(self._end, EngineLoaded) else None

    def wait(self) -> Engine:
        """The engine, however long it takes. Raises LedlocalError."""
        self._thread.join()
        if self.engine is not None:
            return self.engine
        raise LedlocalError(self._end.reason if isinstance(self._end, EngineFailed) else "the model was not loaded")

    def drop(self) -> None:
        """Nobody wants the engine any more: it is closed as soon as it is there."""
        with self._lock:
            self._dropped = True
            if self.engine is not None:
                self.engine.close()

    def _load(self) -> None:
        end: EngineLoaded | EngineFailed
        try:
            end = EngineLoaded(self._start())
        except LedlocalError as error:
            end = EngineFailed(str(error))
        except Exception as error:  # a mistake of ours: the user is to know why nothing comes
            end = EngineFailed(f"unexpected {type(error).__name__}: {error}")
        with self._lock:
            self._end = end
            if self._dropped:
                if self.engine is not None:
                    self.engine.close()
                return
        self._tell(end)
