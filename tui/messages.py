"""What has happened, from one part of the application to another."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from ledlocal.reply import Engine


@dataclass
class EngineLoaded(Message):
    """A model is ready."""

    engine: Engine


@dataclass
class EngineFailed(Message):
    """A model did not load."""

    reason: str


@dataclass
class Submitted(Message):
    """The user sent a message."""

    text: str
