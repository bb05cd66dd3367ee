"""The user's configuration file: defaults of flags, and names for models.

    [chat]
    temp = 0.8            # any flag of `ledlocal chat`, by its long name
    method = "standard"

    [models]
    qwen = "~/models/Qwen3-4B-Thinking-Q4_K_M.gguf"

Flags override the environment (LEDLOCAL_TEMP), which overrides the file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from ledlocal.text_file import read_text, user_path
from ledlocal.values.errors import BadInput


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says; empty without one."""

    path: Path
    exists: bool = False
    chat: Mapping[str, Any] = field(default_factory=dict)
    """Long names of flags without dashes in front -> value: a string, a number, a switch, or a list of strings."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Aliases: a name of the user's own -> what `ledlocal` takes as MODEL."""


def read_config(environ: Mapping[str, str] = os.environ) -> Config:
    """The file in $LEDLOCAL_CONFIG, else in the platform's place. Raises BadInput naming file and key."""
    named = environ.get("LEDLOCAL_CONFIG")
    path = user_path(named) if named else user_config_path("ledlocal") / "config.toml"
    if not os.path.lexists(path):
        if named:
            raise BadInput(f"LEDLOCAL_CONFIG: {path}: no such file")
        return Config(path)
    try:
        values = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path}: {error}") from None
    if unknown := sorted(set(values) - {"chat", "models"}):
        raise BadInput(f"{path}: no section {unknown[0]!r}; there are [chat] and [models]")
    chat, models = values.get("chat", {}), values.get("models", {})
    for name, section in (("chat", chat), ("models", models)):
        if not isinstance(section, dict):
            raise BadInput(f"{path}: {name} must be a section: [{name}]")
    for name, value in chat.items():
        if not (isinstance(value, str | int | float) or (isinstance(value, list) and all(map(_is_text, value)))):
            raise BadInput(f"{path}: chat.{name} must be a string, a number, a switch or a list of strings")
    for name, value in models.items():
        if not _is_text(value):
            raise BadInput(f"{path}: models.{name} must be a string: what it stands for")
    return Config(path, True, chat, models)


def _is_text(value: object) -> bool:
    return isinstance(value, str)
