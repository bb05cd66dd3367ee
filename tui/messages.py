"""What has happened, from one part of the application to another."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from ledlocal_tui.loading import Loading


@dataclass
class LoadingEnded(Message):
    """A model is ready, or did not load."""

    loading: Loading


@dataclass
class Submitted(Message):
    """The user sent a message."""

    text: str
