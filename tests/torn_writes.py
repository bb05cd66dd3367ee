"""`ledlocal ARGUMENTS`, killed in the middle of its N-th write to a file of records. Run as a script: N ARGUMENTS."""

from __future__ import annotations

import os
import signal
import sys
from types import SimpleNamespace


def tearing(left: int) -> SimpleNamespace:
    """The module os, whose `left`-th write is half done when it ends this process."""
    counter = iter(range(left - 1))

    def write(descriptor: int, data: bytes) -> int:
        if next(counter, None) is not None:
            return os.write(descriptor, data)
        os.write(descriptor, bytes(data)[:len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    return SimpleNamespace(**vars(os) | {"write": write})


if __name__ == "__main__":  # not in the graders' processes, which read this file, too
    import ledlocal.evals.run_folder as run_folder
    from ledlocal.cli import main

    run_folder.os = tearing(int(sys.argv.pop(1)))  # type: ignore[assignment]
    main()
