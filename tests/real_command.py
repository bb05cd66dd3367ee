"""The real command with a real engine: run to its end, or on a terminal that controls it (a pseudo-terminal)."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LIMIT_S = 20.0

_LIMITED = """
import os, resource, sys
{limits}
os.execv(sys.executable, [sys.executable, "-m", "ledlocal", *sys.argv[1:]])
"""

# Standard input becomes the controlling terminal, so that what is typed becomes signals. The command is the session's
# leader, as in a window of its own, or in the foreground of another process, as in a shell, where it can be suspended.
_OWNER = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
kind, *command = sys.argv[1:]
pid = os.fork() if kind == "shell" else 0
if pid == 0:
    if kind == "shell":
        os.setpgid(0, 0)
        while os.tcgetpgrp(0) != os.getpid():
            pass
    os.execv(command[0], command)
os.setpgid(pid, pid)
os.tcsetpgrp(0, pid)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) % 256)
"""


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    """Negative: ended by that signal."""
    out: str
    err: str
    took_s: float

    @property
    def said(self) -> list[str]:
        """Lines on stderr, without notes."""
        return [line for line in self.err.splitlines() if not line.startswith("note: ")]


def start(*args: str | bytes, limits: str = "", cache: Path | None = None,
          stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Start the command; `limits`: Python that its process runs first."""
    command = ("-c", _LIMITED.format(limits=limits)) if limits else ("-m", "ledlocal")
    environ = os.environ | ({"XDG_CACHE_HOME": str(cache)} if cache else {})
    return subprocess.Popen([sys.executable, *command, *args], stdin=subprocess.PIPE, stdout=stdout,
                            stderr=subprocess.PIPE, env=environ)


def run(*args: str | bytes, stdin: bytes = b"", limits: str = "", cache: Path | None = None,
        limit_s: float = LIMIT_S) -> Done:
    """Run the command to its end."""
    began = time.monotonic()
    with start(*args, limits=limits, cache=cache) as process:
        try:
            out, err = process.communicate(stdin, limit_s)
        except BaseException:
            process.kill()
            raise
    return Done(process.returncode, out.decode("utf-8", "backslashreplace"), err.decode("utf-8", "backslashreplace"),
                time.monotonic() - began)


def refused(done: Done, *words: str, code: int = 2) -> bool:
    """Whether it ended with this code, saying these words in the one line that it said."""
    line = done.said[-1] if done.said else ""
    assert (done.code, len(done.said), done.out) == (code, 1, ""), done
    assert line.startswith("ledlocal: ") and line.isprintable(), line
    assert all(word in line for word in words), line
    return True


READY, SENT = "⟪>", "⟫"
"""What `Terminal` shows for the line editor beginning to read, behind its prompt, and for it ending."""
_EDITOR = {"\x1b[?2004h": "⟪", "\x1b[?2004l": "⟫"}
_SEQUENCE = re.compile("\x1b\\[[0-9;?]*[a-zA-Z]")
_WHERE = "\x1b[6n"
"""The line editor asks where the cursor is."""


class Terminal:
    """A pseudo-terminal and a command on it, ledlocal if `script` is not another one; a context manager."""

    def __init__(self, *args: str, shell: bool = False, script: str = "", **environ: str) -> None:
        self.master, self.slave = pty.openpty()
        self.modes = termios.tcgetattr(self.slave)
        self._raw, self._shown = b"", ""
        command = ["-c", script] if script else ["-m", "ledlocal"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _OWNER, "shell" if shell else "window", sys.executable, *command, *args],
            cwd=Path(__file__).parent, stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "PYTHONUTF8": "1", **environ})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.kill()
        self.process.wait()
        for end in (self.master, self.slave):
            if end >= 0:
                os.close(end)

    @property
    def pid(self) -> int:
        """The command's process, also below a shell."""
        return os.tcgetpgrp(self.master)

    @property
    def worker(self) -> int:
        """The engine's process."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        [child] = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
        return child

    @property
    def restored(self) -> bool:
        """Whether the terminal's modes are those from before the command."""
        return termios.tcgetattr(self.slave) == self.modes

    @property
    def echoes(self) -> bool:
        """Whether what is typed is shown and comes line by line; the line editor leaves other modes to the shell."""
        needed = termios.ECHO | termios.ICANON | termios.ISIG
        return termios.tcgetattr(self.slave)[3] & needed == needed

    def type(self, text: str) -> None:
        """Type; `\\x03` is Ctrl-C, `\\x04` Ctrl-D, `\\x1a` Ctrl-Z."""
        left = text.encode()
        while left:
            self._look(0)  # or it would wait for this end, and this end for it
            if select.select([], [self.master], [], 0.01)[1]:
                left = left[os.write(self.master, left[:512]):]

    def send(self, text: str) -> None:
        """Type a line, or several, and wait until the line editor has taken it."""
        self.type(text + "\n")
        self.wait_for(SENT)

    def wait_for(self, text: str, seconds: float = LIMIT_S) -> str:
        """What is shown up to and including `text`, without colour; it is taken off the screen."""
        end = time.monotonic() + seconds
        while text not in self._shown:
            assert time.monotonic() < end, f"waited for {text!r}, got {self._shown!r}"
            self._look(0.05)
        head, _, self._shown = self._shown.partition(text)
        return head + text

    def ended(self, seconds: float = LIMIT_S) -> int:
        """The exit code; what is shown meanwhile stays on the screen."""
        end = time.monotonic() + seconds
        while (code := self.process.poll()) is None:
            assert time.monotonic() < end, f"still running, shown: {self._shown!r}"
            self._look(0.005)
        self._look(0)
        return code

    def shown(self) -> str:
        """What is on the screen, without colour."""
        return self._shown

    def settle_for(self, seconds: float) -> None:
        """Let what comes in this time be shown."""
        self._look(seconds)

    def settle(self) -> None:
        """Wait until nothing more is shown, and take everything off the screen."""
        while select.select([self.master], [], [], 0.5)[0]:
            self._look(0)
        self._shown = ""

    def hang_up(self) -> None:
        """Close the terminal, as a window does."""
        for end in (self.slave, self.master):
            os.close(end)
        self.master = self.slave = -1

    def _look(self, seconds: float) -> None:
        """Read what has come, up to an escape sequence or a character that is not whole yet."""
        if not select.select([self.master], [], [], seconds)[0]:
            return
        self._raw += os.read(self.master, 2**16)
        whole = re.sub(b"(\x1b(\\[[0-9;?]*)?|[\xc0-\xff][\x80-\xbf]{0,2})$", b"", self._raw)
        text, self._raw = whole.decode("utf-8", "replace"), self._raw[len(whole):]
        self._shown += _SEQUENCE.sub(lambda match: _EDITOR.get(match[0], ""), text)
        for _ in range(text.count(_WHERE)):
            self.type("\x1b[1;1R")
