"""Use after the end, ends at any moment, and what must outlive a call: each in a process that may die of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from real_command import READY, Terminal
from tiny_models import tiny_model
from worker_processes import linux

START = """
import gc, sys, threading
from ledlocal.engine.engine import Engine
from ledlocal.models import DEMO
from ledlocal.runtime.llama import Row
from ledlocal.values.errors import LedlocalError
from ledlocal.values.events import Finished, Token
from ledlocal.values.params import EngineOptions, Request
engine = Engine(EngineOptions(str(DEMO), context=512, threads=1))
endless = Request(prompt="1 2 3", ignore_eos=True)
"""

CLOSED_IN_A_STREAM = """
events = engine.generate(endless)
assert any(isinstance(event, Token) for event in events)
engine.close()
try:
    next(events)
except LedlocalError as error:
    print(error)
events.close()
engine.close()
for use in (lambda: engine.submit(endless), engine.step, lambda: next(engine.generate(endless))):
    try:
        use()
    except LedlocalError as error:
        print(error)
engine.cancel(1)
engine.answer_now(1)
"""

EXIT_IN_A_STREAM = """
events = engine.generate(endless)
assert any(isinstance(event, Token) for event in events)
print("leaving")
"""

EXIT_IN_A_DECODE = """
def run():
    for event in engine.generate(endless):
        if isinstance(event, Token):
            decoding.set()
decoding = threading.Event()
threading.Thread(target=run, daemon=True).start()
decoding.wait()
print("leaving")
"""

CALLBACK = """
from ledlocal.runtime.llama import AbortFlag
number = engine.submit(endless)
engine._session.context.abort.set()
gc.collect()
junk = [AbortFlag() for _ in range(10_000)]  # had the callback or its buffer been freed, these would take their place
del junk
gc.collect()
engine.cancel(number)
while engine.busy:
    ended = [event for event in engine.step() if isinstance(event, Finished)]
print(ended[0].finish)
print(len([event for event in engine.generate(Request(prompt="1", max_tokens=3, ignore_eos=True))]))
"""

OUT_OF_RANGE = """
context = engine._session.context
row = Row(1, 0, 0, True)
for rows in ([], [row] * 513, *([Row(*bad, True)] for bad in ((-1, 0, 0), (10**6, 0, 0), (1, 0, 9), (1, 0, -1)))):
    try:
        context.decode(rows)
    except ValueError as error:
        print(error)
vocabulary = engine._session.vocabulary
for token in (-1, vocabulary.n, 2**31 - 1):
    try:
        vocabulary.piece(token)
    except (ValueError, IndexError, LedlocalError) as error:
        print(error)
"""


def outcome(script: str) -> list[str]:
    """What the script printed; it must end well."""
    done = subprocess.run([sys.executable, "-c", START + script], capture_output=True, text=True, check=False,
                          timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()


def test_closed_in_mid_stream() -> None:
    assert outcome(CLOSED_IN_A_STREAM) == ["the engine is closed"] * 4


@pytest.mark.parametrize("script", [EXIT_IN_A_STREAM, EXIT_IN_A_DECODE], ids=["stream", "decode"])
def test_the_interpreter_ends_in_mid_generation(script: str) -> None:
    assert outcome(script) == ["leaving"]


def test_the_abort_flag_outlives_the_collector() -> None:
    assert outcome(CALLBACK) == ["cancelled", "5"]


def test_numbers_out_of_range_do_not_reach_llama_cpp() -> None:
    assert len(outcome(OUT_OF_RANGE)) == 9


# ---- the worker killed at random moments ----


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "m.gguf", "qwen3")


@linux
@pytest.mark.parametrize("rounds", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_a_worker_killed_at_any_moment_and_the_chat_goes_on(rounds: int, model: Path) -> None:
    """Said once, in one line; the next message starts a new engine; at the end the exit code is the last one's."""
    draw = random.Random(rounds)
    with Terminal("chat", str(model), "-t", "1", "-s", "1", "-n", "400", "--tap", "none", "--method",
                  "standard") as terminal:
        terminal.wait_for("leaves\r\n" + READY)
        for number in range(rounds):
            worker, fatal = terminal.worker, draw.choice((signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT))
            terminal.send(f"say {number}")
            time.sleep(draw.uniform(0, 0.2))
            os.kill(worker, fatal)
            said = terminal.wait_for("/regen answers the last message with a new engine\r\n" + READY)
            assert said.count(f"ledlocal: engine died ({fatal.name}) while ") == 1 and "Traceback" not in said
            terminal.send(f"again {number}")
            terminal.wait_for("tokens/s")
            terminal.wait_for(READY)
            terminal.send("/clear")
            terminal.wait_for(READY)
        os.kill(terminal.worker, signal.SIGKILL)
        time.sleep(0.3)
        terminal.send("more")
        terminal.wait_for("note: engine died (SIGKILL) while idle")
        terminal.wait_for("tokens/s")
        terminal.wait_for(READY)
        terminal.type("\x04")
        assert terminal.ended() == 0
        assert terminal.restored
