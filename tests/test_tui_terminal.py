"""The terminal UI in a real terminal, on the demo model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from real_command import Terminal
from tmux import Tmux
from worker_processes import gone_within

LOAD_S = 30.0
"""That the slow model takes to load."""
SEED = 17
"""With which the demo model explores and solves PUZZLE."""
PUZZLE = "Use 3, 4, 5 and 7 to make 30."


@pytest.fixture
def tmux(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tmux]:
    command, columns, lines = request.param
    terminal = Tmux(f"{sys.executable} -P -m ledlocal {command} demo -t 1 -s {SEED}", columns, lines, tmp_path)
    yield terminal
    terminal.close()


@dataclass(frozen=True)
class Said:
    """What the same command line, without a terminal, says to PUZZLE."""

    result: dict[str, Any]
    tokens: list[dict[str, Any]]

    @property
    def answer(self) -> str:
        answer: str = self.result["answer"]
        return answer

    @property
    def lengths(self) -> str:
        return "{thinking} thinking + {answer} answer tokens".format(**self.result["tokens"])

    @property
    def thinking(self) -> str:
        return f"thinking · {self.result['tokens']['thinking']} tokens"

    @property
    def explored(self) -> list[dict[str, Any]]:
        return [token for token in self.tokens if token["explored"]]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Said:
    trace = tmp_path_factory.mktemp("said") / "trace.jsonl"
    command = [sys.executable, "-P", "-m", "ledlocal", "chat", "demo", PUZZLE, "-t", "1", "-s", str(SEED), "--json",
               "--trace", str(trace)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, "XDG_DATA_HOME": str(trace.parent)})
    said = Said(json.loads(done.stdout), [json.loads(line) for line in trace.read_text().splitlines()])
    assert said.answer.endswith("=30") and said.explored, "choose another SEED for this model"
    return said


def kept_in(folder: Path) -> list[str]:
    """Conversations, the first one first."""
    kept = (folder / "ledlocal" / "conversations").iterdir()
    return [path.read_text() for path in sorted(kept, key=lambda path: path.stem)]  # of one second, too


@pytest.mark.parametrize("tmux", [("tui", 120, 36), ("tui", 80, 24)], indirect=True, ids=["wide", "80x24"])
def test_a_conversation_from_start_to_end(tmux: Tmux, said: Said, tmp_path: Path) -> None:
    tmux.wait_for(" · 0/")
    tmux.type(PUZZLE, "Enter")  # in one piece, as over a slow line
    shown = tmux.wait_for(said.lengths)
    changed = sum(token["changed"] for token in said.tokens)
    assert said.answer in shown and f"▾ {said.thinking}" in shown
    assert f"explored {len(said.explored)}, changed {changed}" in shown
    tmux.type("F3")
    shown = tmux.wait_for(f"✓ right · {said.lengths.removesuffix(' tokens')}")
    assert "standard" in shown and shown.count("◆") in (1, 3)  # a key's name; both sides where they part
    tmux.type("Escape")
    tmux.wait_for(f"▾ {said.thinking}")
    tmux.type("C-q")
    shown = tmux.wait_for("left with 0")
    assert "thinking" not in shown  # the screen from before is back
    [kept] = kept_in(tmp_path)
    assert f'"content": "{said.answer}"' in kept


@pytest.mark.slow
@pytest.mark.parametrize("tmux", [("tui", 120, 36)], indirect=True)
def test_stopped_looked_at_and_forked(tmux: Tmux, said: Said, tmp_path: Path) -> None:
    tmux.wait_for(" · 0/")
    tmux.type("Use 7, 8, 9, 10 and 11 to make 37.", "Enter")  # a long search
    for _ in range(10):
        tmux.wait_for("▾ thinking")
        tmux.type("C-c")
        shown = tmux.wait_for(" answer tokens · ")
        if "finish: cancelled" in shown:
            break
        tmux.type("C-r")  # this machine was too busy to press the key in time
        tmux.wait_for("^c stop")
    shown = tmux.wait_for("^g go on")
    assert "finish: cancelled" in shown and "^c stop" not in shown
    tmux.type("C-n")
    tmux.wait_for(" · 0/")
    tmux.type(PUZZLE, "Enter")
    tmux.wait_for(said.lengths)
    tmux.type("F2")
    fork = said.explored[0]
    shown = tmux.wait_for(f"token {fork['i']} · ")
    outcome = "changed" if fork["changed"] else "same token"
    assert f"coin {fork['u'][0]:.3f}: explored, {outcome}" in shown and "◀ mix to here" in shown
    place = fork["candidates"].index(fork["id"])
    assert f"▸{fork['texts'][place]}" in shown
    tmux.type("Up" if place else "Down")
    other = fork["texts"][place - 1 if place else 1]
    tmux.wait_for(f"▸{other}")
    tmux.type("f")
    tmux.wait_for("since it went on")
    tmux.type("F3")
    tmux.wait_for("judged by calculating")
    tmux.type("C-q")
    tmux.wait_for("left with 0")
    stopped, straight, forked = (json.loads(kept.splitlines()[-1]) for kept in kept_in(tmp_path))
    assert stopped["finish"] == "cancelled"
    before = "".join(token["text"] for token in said.tokens if token["i"] < fork["i"]).removeprefix("\n")
    assert straight["thinking"].startswith(f"{before}{fork['texts'][place]}")
    assert forked["thinking"].startswith(f"{before}{other}")


@pytest.mark.slow
@pytest.mark.parametrize("tmux", [("chat", 80, 24)], indirect=True)
def test_a_chat_goes_on_on_the_screen_and_comes_back(tmux: Tmux, said: Said, tmp_path: Path) -> None:
    tmux.wait_for("Ctrl-D leaves")
    tmux.type(PUZZLE, "Enter")
    tmux.wait_for(said.lengths)
    tmux.type("/tui", "Enter")
    length = sum(map(len, (said.result["prompt_ids"], said.result["ids"])))
    tmux.wait_for(f" · {length}/")  # the same engine, all was said
    shown = tmux.wait_for(said.thinking)  # token by token
    assert said.answer in shown
    tmux.type("again", "Enter")
    tmux.wait_for("tokens/s · explored")
    tmux.type("C-q")
    shown = tmux.wait_for("the conversation goes on after 2 turns")
    assert "> again" in shown and "f1 help" not in shown
    tmux.type("/stats", "Enter")
    tmux.wait_for("session   2 answers")
    tmux.type("/tui", "Enter")
    tmux.wait_for("f1 help")
    tmux.type("C-q")
    tmux.wait_for("> /tui\n>")
    tmux.type("/seed", "Enter")
    tmux.wait_for(f"seed {SEED}")
    tmux.type("C-d")
    tmux.wait_for("left with 0")
    [kept] = kept_in(tmp_path)
    assert kept.count('"role": "user"') == 2


SLOW = """
import sys
import time
from worker_processes import fake
import ledlocal.commands.tui as command
from ledlocal import cli
command.start_engine = lambda options: fake("sleep")  # a model that takes its time
cli.main(["tui", "demo"])
"""


def test_nobody_waits_for_a_model_that_is_not_wanted() -> None:
    with Terminal(script=SLOW) as terminal:
        terminal.wait_for("loading ...")
        worker = terminal.worker
        began = time.monotonic()
        terminal.type("\x11")
        assert terminal.ended() == 0 and time.monotonic() - began < LOAD_S / 2
        assert terminal.restored
        assert gone_within(worker, 5)
