"""A conversation and its file: readable JSON lines, written whole after every turn."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from platformdirs import user_data_path

from ledlocal.text_file import read_text, user_path
from ledlocal.values.errors import BadInput, OutOfResources
from ledlocal.values.events import Finish
from ledlocal.values.params import Message

VERSION = 1
_NAME = re.compile(r"[\w-][\w.-]*")
_BY_TIME = re.compile(r"\d{4}-\d\d-\d\d-\d{6}-\d+(-\d+)?")


@dataclass(frozen=True, slots=True)
class Turn:
    """A message and its answer."""

    user: str
    answer: str = ""
    thinking: str = ""
    finish: Finish = "stop"
    seed: int = 0
    attempt: int = 0
    """How often this message was answered before."""
    method: str = ""
    """The parameters, in words."""
    ids: tuple[int, ...] = ()
    """The reply's tokens while it may still go on; empty once it has ended by itself."""

    @property
    def unanswered(self) -> bool:
        """Nothing came of the answer before it was stopped."""
        return self.finish == "cancelled" and not (self.answer or self.thinking or self.ids)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What was said so far. Every change is a new object."""

    system: str | None = None
    turns: tuple[Turn, ...] = ()
    model: str = ""
    """The model's name as the user wrote it."""

    def with_turn(self, turn: Turn) -> Conversation:
        """One more turn."""
        return replace(self, turns=(*self.turns, turn))

    def under(self, model: str) -> Conversation:
        """The same under a model; another model's tokens mean nothing to it, so its reply cannot go on."""
        if model == self.model:
            return self
        last = tuple(replace(turn, ids=()) for turn in self.turns[-1:])
        return replace(self, model=model, turns=self.turns[:-1] + last)

    def undone(self) -> Conversation:
        """Without the last turn."""
        return replace(self, turns=self.turns[:-1])

    def messages(self, user: str | None = None) -> tuple[Message, ...]:
        """As a template takes them, which wants an answer to every message; `user` is one more message to answer."""
        said = [Message("system", self.system)] if self.system else []
        for turn in (turn for turn in self.turns if not turn.unanswered):
            said += [Message("user", turn.user), Message("assistant", turn.answer, turn.thinking or None)]
        return (*said, *([] if user is None else [Message("user", user)]))

    def lines(self) -> Iterator[str]:
        """JSON lines: a header, then one line per message."""
        yield _line({"ledlocal": VERSION, "model": self.model, "saved": datetime.now().isoformat(timespec="seconds")})
        if self.system:
            yield _line({"role": "system", "content": self.system})
        for turn in self.turns:
            yield _line({"role": "user", "content": turn.user})
            reply = {"role": "assistant", "content": turn.answer} | asdict(turn)
            del reply["user"], reply["answer"]
            yield _line({key: value for key, value in reply.items() if value not in ("", ()) or key == "content"})

    def markdown(self) -> str:
        """For reading: thoughts folded."""
        parts = [f"# {self.model}"] + ([f"*{self.system}*"] if self.system else [])
        for turn in self.turns:
            parts += [f"## You\n\n{turn.user}", "## Model"]
            if turn.thinking:
                parts.append(f"<details><summary>thinking</summary>\n\n{turn.thinking}\n\n</details>")
            parts.append(turn.answer or f"({turn.finish})")
        return "\n\n".join(parts) + "\n"


def read_conversation(path: Path) -> Conversation:
    """Raises BadInput naming the file and the line."""
    lines = read_text(path).split("\n")
    conversation = Conversation()
    user: str | None = None
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            record = json.loads(line)
            if number == 1:
                if record["ledlocal"] != VERSION:
                    raise ValueError(f"version {record['ledlocal']} of the format, not {VERSION}")
                conversation = replace(conversation, model=str(record["model"]))
            elif record["role"] == "system":
                conversation = replace(conversation, system=str(record["content"]))
            elif record["role"] == "user" and user is None:
                user = str(record["content"])
            elif record["role"] == "assistant" and user is not None:
                conversation, user = conversation.with_turn(_turn(user, record)), None
            else:
                raise ValueError(f"no place here for role {record['role']!r}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadInput(f"{path}: line {number} is no line of a conversation: {error}") from None
    if not any(lines):
        raise BadInput(f"{path}: no conversation is in it")
    return conversation if user is None else conversation.with_turn(Turn(user, finish="cancelled"))


def _turn(user: str, record: dict[str, Any]) -> Turn:
    finish = record.get("finish", "stop")
    ids = tuple(record.get("ids", ()))
    if finish not in get_args(Finish) or not all(isinstance(i, int) for i in ids):
        raise ValueError("finish or ids is not what it should be")
    seed, attempt = int(record.get("seed", 0)), int(record.get("attempt", 0))
    if not 0 <= seed < 2**64 or not 0 <= attempt < 2**31:
        raise ValueError("seed or attempt is out of range")
    return Turn(user, str(record["content"]), str(record.get("thinking", "")), finish, seed, attempt,
                str(record.get("method", "")), ids)


def folder() -> Path:
    """Where conversations are kept."""
    return user_data_path("ledlocal") / "conversations"


def new_path() -> Path:
    """A file for a new conversation, named by the time; none is there yet."""
    stem = f"{datetime.now():%Y-%m-%d-%H%M%S}-{os.getpid()}"
    stems = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(path for each in stems if not (path := folder() / f"{each}.jsonl").exists())


def path_of(name: str) -> Path:
    """The file that a name means: a path if it has a slash or ends in .jsonl, else a name among the kept ones."""
    if "/" in name or name.endswith(".jsonl"):
        return user_path(name)
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r} is no name for a conversation: letters, digits, dots and dashes, or a path")
    return folder() / f"{name}.jsonl"


def latest() -> Path:
    """The conversation that was saved last. Raises BadInput if there is none."""
    try:
        return max(folder().glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    except (ValueError, OSError):
        raise BadInput(f"no conversation is kept in {folder()}") from None


def outline(name: str) -> tuple[str, str, str, str]:
    """Of a kept conversation: when it was saved, how many turns it has, how it begins and ends; empty where that cannot
    be read."""
    path = folder() / f"{name}.jsonl"
    try:
        turns, saved = read_conversation(path).turns, datetime.fromtimestamp(path.stat().st_mtime)
    except (BadInput, OSError):
        return "", "", "", ""
    when = f"{saved:%H:%M}" if saved.date() == datetime.now().date() else f"{saved:%Y-%m-%d}"
    last = turns[-1] if turns else Turn("")
    return when, str(len(turns)), _shortened(turns[0].user if turns else "", 40), _shortened(last.answer or "", 24)


def named(name: str) -> bool:
    """Whether a user named a kept conversation so."""
    return not _BY_TIME.fullmatch(name)


def _shortened(text: str, most: int) -> str:
    words = " ".join(text.split())
    return words if len(words) <= most else words[:most - 3] + "..."


def names() -> list[str]:
    """Kept conversations, the latest first."""
    try:
        found = sorted(folder().glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    except OSError:
        return []
    return [path.stem for path in found]


def write(path: Path, text: str) -> None:
    """Write a private file: whole, or not at all. Raises OutOfResources naming it."""
    whole = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # half a surrogate pair, as a broken locale gives it, becomes the JSON escape that it is
        with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8",
                       errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        whole.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            whole.unlink()
        raise OutOfResources(f"cannot save {path}: {error.strerror}") from None


def remove(path: Path) -> None:
    """Remove a file if it is there. Raises OutOfResources naming it."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutOfResources(f"cannot remove {path}: {error.strerror}") from None


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False)
