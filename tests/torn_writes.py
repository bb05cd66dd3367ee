"""`ledlocal ARGUMENTS`, killed in the middle of its N-th write to a file of records. Run as a script: N ARGUMENTS."""

from __future__ import annotations

import os
import signal
import sys

real, left = os.write, int(sys.argv.pop(1))


def write(descriptor: int, data: bytes) -> int:
    global left
    left -= 1
    if left:
        return real(descriptor, data)
    real(descriptor, bytes(data)[:len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


if __name__ == "__main__":
    import ledlocal.evals.run_folder as run_folder
    from ledlocal.cli import main

    run_folder.os = type("Os", (), {name: staticmethod(value) if callable(value) else value  # type: ignore[assignment]
                                    for name, value in vars(os).items()} | {"write": staticmethod(write)})
    main()
