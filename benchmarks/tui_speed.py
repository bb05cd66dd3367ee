"""The terminal UI under load: a scripted reply at 500 tokens per second, in a real terminal of 120 x 40.

    python benchmarks/tui_speed.py --seconds 60

Prints the share of one core that the UI takes, its peak memory, tokens shown of those sent, and how long a typed letter
takes to appear.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from ledlocal.bench.measurement import peak_bytes
from ledlocal.conversation import Conversation
from ledlocal.settings import Settings
from ledlocal.values.events import Candidates, Event, Exploration, Finished, Loaded, ModelFacts, Started, Token
from ledlocal.values.params import Request

PER_SECOND = 500
EXPLORED = 12
"""Every so many tokens one is explored."""
LETTER = "Q"
"""Typed; the reply has none."""
LOADED = Loaded(ModelFacts("none.gguf", "scripted", "llama", 36, 150_000, 40_000, 40_000, 1, "<think>", "</think>",
                           "render", {}, True, "0" * 64), "plugin", 0.0, {})
WORDS = ("so", "the", "number", "is", "larger", "than", "nine,", "and", "we", "try", "another", "way.\n")


class Scripted:
    """An engine that says what was written before, at its own pace."""

    loaded, died = LOADED, None

    def __init__(self, seconds: float) -> None:
        self.tokens = int(seconds * PER_SECOND)

    def generate(self, request: Request) -> Iterator[Event]:
        """One long thought and a short answer."""
        yield Started(1, 0, (1, 2, 3), 0, 0.0)
        begin = time.perf_counter()
        for i in range(self.tokens):
            due = begin + i / PER_SECOND
            if (early := due - time.perf_counter()) > 0:
                time.sleep(early)
            yield token(i, "answer" if i > self.tokens - 200 else "thinking")
        yield Finished(1, 0, "stop", "", "done", "thought", tuple(range(self.tokens)), 0, 3, self.tokens, 0, 0.0, 1.0,
                       Exploration(self.tokens // EXPLORED, 0, (0,) * 8, 0.9))

    def cancel(self) -> None:
        """Never asked."""

    answer_now = close = cancel


def token(i: int, phase: str) -> Token:
    """The i-th one."""
    explored = i % EXPLORED == 0
    candidates = Candidates(tuple(range(8)), WORDS[:8], tuple(range(36, 28, -1)),
                            tuple(tuple(0.9 if j == (i + layer) % 8 else 0.01 for j in range(8)) for layer in range(8)),
                            tuple(0.1 * layer for layer in range(8))) if explored else None
    return Token(1, 0, i, 7, WORDS[i % len(WORDS)] + " ", phase, False, False, 0.8, 0.5 + 0.4 * (i % 7) / 7, explored,
                 explored and i % 24 == 0, i % 8 if explored else None, (0.5, 0.5), candidates)


def show(seconds: float, report: Path) -> None:
    """The child: the application, and what it took."""
    from ledlocal_tui import app

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that it ends with the terminal
    engine = Scripted(seconds)

    class Timed(app.LedlocalApp):
        CSS_PATH = Path(app.__file__).with_name("app.tcss")

        def on_mount(self) -> None:
            super().on_mount()
            self.run_worker(self.watch())

        async def watch(self) -> None:
            while self.chat.answering is None:
                await asyncio.sleep(0.02)
            now, cpu, wall = self.chat.answering, time.process_time(), time.perf_counter()
            while self.chat.answering is not None:
                await asyncio.sleep(0.1)
            report.write_text(json.dumps({
                "cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "shown": now.tally.tokens,
                "sent": engine.tokens, "peak": peak_bytes()}))
            self.exit()

    Timed(lambda _name: engine, Settings(seed=1), Conversation(model="scripted"), None).run()


class Terminal:
    """The parent's side of the pseudo-terminal."""

    def __init__(self, child: subprocess.Popen[bytes], fd: int) -> None:
        self._child, self._fd = child, fd
        self.written = 0

    def read(self, wait_s: float) -> bytes:
        """What came, if anything did within that time."""
        if not select.select([self._fd], [], [], wait_s)[0]:
            return b""
        try:
            data = os.read(self._fd, 1 << 20)
        except OSError:
            return b""
        self.written += len(data)
        return data

    def reaction(self) -> float:
        """Milliseconds from a key to its letter on the screen."""
        begin = time.perf_counter()
        os.write(self._fd, LETTER.encode())
        while LETTER.encode() not in self.read(0.2):
            if time.perf_counter() - begin > 5 or self._child.poll() is not None:
                raise SystemExit("a typed letter never came")
        return 1e3 * (time.perf_counter() - begin)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        show(options.seconds, options.child)
        return
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        with subprocess.Popen([sys.executable, __file__, "--seconds", str(options.seconds), "--child", str(report)],
                              stdin=slave, stdout=slave, stderr=slave,
                              env={**os.environ, "TERM": "xterm-256color"}, start_new_session=True) as child:
            os.close(slave)
            terminal = Terminal(child, master)
            seen = b""
            while b"0/40000 tokens" not in seen and child.poll() is None:  # the model is loaded
                seen += terminal.read(5)
            os.write(master, b"go\r")
            reactions, begun = [], time.perf_counter()
            last = begun
            while child.poll() is None and not report.exists():
                terminal.read(0.05)
                if time.perf_counter() - last > 2 and time.perf_counter() - begun < options.seconds - 3:
                    reactions.append(terminal.reaction())
                    last = time.perf_counter()
            while child.poll() is None:
                terminal.read(0.05)
        if not report.exists():
            raise SystemExit(f"the application ended with {child.returncode}")
        used = json.loads(report.read_text())
    wall = used["wall"]
    print(f"{100 * used['cpu'] / wall:.0f} % of one core over {wall:.0f} s, {used['peak'] / 1e6:.0f} MB at the peak, "
          f"{used['shown']:.0f} of {used['sent']:.0f} tokens shown, {terminal.written / wall / 1e3:.0f} kB/s written;\n"
          f"a typed letter appears after {statistics.median(reactions):.0f} ms (median of {len(reactions)}; at most "
          f"{max(reactions):.0f})")


if __name__ == "__main__":
    main()
