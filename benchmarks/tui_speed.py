"""The terminal UI under load: a scripted reply at 500 tokens per second, in a real terminal of 120 x 40.

    python benchmarks/tui_speed.py --seconds 60
    python benchmarks/tui_speed.py --seconds 60 --says answer

Prints the share of one core that the UI takes, in all and over the first and the last quarter, its peak memory, tokens
shown of those sent, and how long a typed letter takes to appear. An answer is Markdown: paragraphs, or one
long block of code (`--says code`).
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ledlocal.bench.memory import peak_bytes
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
BEGINS = ("## ", "", "- ", "- ", "- ", "")
"""Paragraphs of an answer begin with these in turn."""
SAYS = ("thought", "answer", "code")


class Scripted:
    """An engine that says what was written before, at its own pace."""

    loaded, died = LOADED, None

    def __init__(self, seconds: float, says: str) -> None:
        self.tokens, self.says = int(seconds * PER_SECOND), says

    def generate(self, request: Request) -> Iterator[Event]:
        """One long thought and a short answer, or a long answer."""
        yield Started(1, 0, (1, 2, 3), 0, 0.0)
        begin = time.perf_counter()
        for i in range(self.tokens):
            due = begin + i / PER_SECOND
            if (early := due - time.perf_counter()) > 0:
                time.sleep(early)
            yield token(i, self.says)
        yield Finished(1, 0, "stop", "", "done", "thought", tuple(range(self.tokens)), 0, 3, self.tokens, 0, 0.0, 1.0,
                       Exploration(self.tokens // EXPLORED, 0, (0,) * 8, 0.9))

    def cancel(self) -> None:
        """Never asked."""

    answer_now = close = cancel


def token(i: int, says: str) -> Token:
    """The i-th one."""
    explored = says == "thought" and i % EXPLORED == 0
    candidates = Candidates(tuple(range(8)), WORDS[:8], tuple(range(36, 28, -1)),
                            tuple(tuple(0.9 if j == (i + layer) % 8 else 0.01 for j in range(8)) for layer in range(8)),
                            tuple(0.1 * layer for layer in range(8))) if explored else None
    text = "```python\n" if says == "code" and i == 0 else WORDS[i % len(WORDS)] + " "
    if says == "answer" and i % (5 * len(WORDS)) == 0:
        text = f"\n\n{BEGINS[i // (5 * len(WORDS)) % len(BEGINS)]}{text}"
    return Token(1, 0, i, 7, text, "thinking" if says == "thought" else "answer", False, False, 0.8,
                 0.5 + 0.4 * (i % 7) / 7, explored, explored and i % 24 == 0, i % 8 if explored else None, (0.5, 0.5),
                 candidates)


def show(seconds: float, says: str, report: Path) -> None:
    """The child: the application, and what it took."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it ends with the terminal, even where nohup had it ignored
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    from ledlocal_tui import app

    engine = Scripted(seconds, says)

    class Timed(app.LedlocalApp):
        CSS_PATH = Path(app.__file__).with_name("app.tcss")

        def on_mount(self) -> None:
            super().on_mount()
            self.run_worker(self.watch())

        async def watch(self) -> None:
            while self.chat.answering is None:
                await asyncio.sleep(0.02)
            now, marks = self.chat.answering, [(time.perf_counter(), time.process_time())]
            while self.chat.answering is not None:
                await asyncio.sleep(0.1)
                marks.append((time.perf_counter(), time.process_time()))
            report.write_text(json.dumps({
                "marks": marks, "shown": now.tally.tokens, "sent": engine.tokens, "peak": peak_bytes()}))
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

    def write(self, keys: bytes) -> None:
        """Type."""
        os.write(self._fd, keys)

    def reaction(self) -> float:
        """Milliseconds from a key to its letter on the screen."""
        begin = time.perf_counter()
        self.write(LETTER.encode())
        while LETTER.encode() not in self.read(0.2):
            if time.perf_counter() - begin > 5 or self._child.poll() is not None:
                raise SystemExit("a typed letter never came")
        return 1e3 * (time.perf_counter() - begin)


def share(marks: list[list[float]]) -> str:
    """Of one core, between the first and the last pair of wall clock and CPU time."""
    (wall, cpu), (wall_end, cpu_end) = marks[0], marks[-1]
    return f"{100 * (cpu_end - cpu) / (wall_end - wall):.0f} %"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--says", choices=SAYS, default="thought")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        show(options.seconds, options.says, options.child)
        return
    used, reactions, written = measure(options.seconds, options.says)
    marks = used["marks"]
    wall, quarter = marks[-1][0] - marks[0][0], len(marks) // 4
    print(f"{share(marks)} of one core over {wall:.0f} s ({share(marks[:quarter])} over the first quarter, "
          f"{share(marks[-quarter:])} over the last), {used['peak'] / 1e6:.0f} MB at the peak,\n"
          f"{used['shown']} of {used['sent']} tokens shown, {written / wall / 1e3:.0f} kB/s written;\n"
          f"a typed letter appears after {statistics.median(reactions):.0f} ms (median of {len(reactions)}; at most "
          f"{max(reactions):.0f})")


def measure(seconds: float, says: str) -> tuple[dict[str, Any], list[float], int]:
    """Run the child in a terminal: its report, milliseconds from keys to letters, bytes that it wrote."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        child = subprocess.Popen([sys.executable, __file__, "--seconds", str(seconds), "--says", says, "--child",
                                  str(report)], stdin=slave, stdout=slave, stderr=slave,
                                 env={**os.environ, "TERM": "xterm-256color"}, start_new_session=True)
        try:
            os.close(slave)
            terminal = Terminal(child, master)
            reactions = type_letters(terminal, child, report, seconds)
        finally:
            child.kill()  # if it has not ended
            child.wait()
        if not report.exists():
            raise SystemExit(f"the application ended with {child.returncode}")
        return json.loads(report.read_text()), reactions, terminal.written


def type_letters(terminal: Terminal, child: subprocess.Popen[bytes], report: Path, seconds: float) -> list[float]:
    """Have a message answered, and type a letter every two seconds of it."""
    seen = b""
    while b"0/40000 tokens" not in seen and child.poll() is None:  # the model is loaded
        seen += terminal.read(5)
    terminal.write(b"go\r")
    reactions, begun = [], time.perf_counter()
    last = begun
    while child.poll() is None:
        terminal.read(0.05)
        now = time.perf_counter()
        if now - last > 2 and now - begun < seconds - 3 and not report.exists():
            reactions.append(terminal.reaction())
            last = time.perf_counter()
    return reactions


if __name__ == "__main__":
    main()
