"""A process that owns libllama: how it is prepared, and how its parent tells what it died of."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
import sys
from pathlib import Path

UNEXPECTED = 70
"""Exit code after an exception that nobody foresaw (EX_SOFTWARE of sysexits.h); its traceback is on fd 2."""
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def prepare_process() -> None:
    """Make a crash cheap and quiet; to be called before libllama is loaded."""
    # On an assert ggml would start a debugger; now it only writes the assert's text to fd 2, which the parent keeps.
    os.environ["GGML_NO_BACKTRACE"] = "1"
    faulthandler.enable(2, all_threads=False)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # Where the end of the socket is not seen because C code holds the interpreter's lock.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):  # Containers may forbid it; it only makes the kernel's choice better.
            Path("/proc/self/oom_score_adj").write_text("800")


def exit_name(code: int) -> str:
    """Of a return code as subprocess has it: a signal's name, or the number."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"


def last_words(output: bytes, code: int) -> str:
    """The last line, before faulthandler's report if there is one."""
    if code == -signal.SIGKILL:
        return "killed from outside, often because memory ran out"
    text = output.decode("utf-8", "backslashreplace").partition("Fatal Python error:")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it left no message"
