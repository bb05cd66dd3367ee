"""What a command that holds a conversation makes of its flags: settings, engine, conversation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledlocal.commands.chat_flags import SETTINGS
from ledlocal.commands.values import origin_of
from ledlocal.values.errors import BadInput
from ledlocal.values.params import Detail, EngineOptions

if TYPE_CHECKING:
    from ledlocal.conversation import Conversation
    from ledlocal.reply import Engine
    from ledlocal.settings import Settings
    from ledlocal.stores.location import Location


def start_engine(options: EngineOptions) -> Engine:
    """The engine in a process of its own."""
    from ledlocal.worker.client import Worker

    return Worker(options)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a conversation begins with."""

    location: Location
    """Of the model."""
    options: EngineOptions
    conversation: Conversation
    """What to go on with."""
    path: Path | None
    """Where it is kept; None: nowhere."""


def setup_of(model: str | None, settings: Settings, flags: dict[str, Any]) -> Setup:
    """From flags; without a model the conversation's own, else the demo's. Raises BadInput."""
    from ledlocal.config import read_config
    from ledlocal.models import resolve

    kept, path = conversation_of(flags)
    if flags["system_prompt"] is not None:
        kept = replace(kept, system=flags["system_prompt"])
    model = model or kept.model or None
    location = resolve(model, offline=flags["offline"], aliases=read_config().models)
    if flags["sha256"] is not None:
        check_digest(location.path, flags["sha256"])
    options = engine_options(location.path, settings.deepest(), flags)
    if location.origin == "file":
        model = str(location.path.absolute())  # the conversation may go on from another folder
    return Setup(location, options, kept.under(model or "demo"), path)


def settings_of(flags: dict[str, Any]) -> Settings:
    """What was chosen. Raises BadInput naming flag, variable or key."""
    from ledlocal.settings import Settings

    detail: Detail = "all" if flags.get("trace_all") else "candidates" if flags.get("trace") else "forks"
    settings = Settings(stop=flags["stop"], detail=detail)
    given = [(name.replace(".", "__"), name, flags[name.replace(".", "__")]) for _, name, _, _ in SETTINGS]
    for option, name, text in [*given, *(("more", name, text) for name, text in flags["more"])]:
        if text is not None:
            try:
                settings = settings.with_value(name, text)
                settings.request(None)  # a wrong value is told before a model is loaded
            except BadInput as error:
                raise BadInput(f"{origin_of(option)}: {error}") from None
    settings.request(None)
    return settings


def conversation_of(flags: dict[str, Any]) -> tuple[Conversation, Path | None]:
    """What to go on with, and where it is kept."""
    from ledlocal.conversation import Conversation, latest, new_path, path_of, read_conversation

    if flags["resume"] and flags["load"]:
        raise BadInput("--continue takes the last conversation and --load a named one; give one of them")
    if not flags["resume"] and not flags["load"]:
        return Conversation(), None if flags["no_save"] else new_path()
    path = latest() if flags["resume"] else path_of(flags["load"])
    return read_conversation(path), None if flags["no_save"] else path


def engine_options(path: Path, depth: int, flags: dict[str, Any]) -> EngineOptions:
    """How the model is loaded. Raises BadInput."""
    template, tags, layers = flags["chat_template_file"], flags["think_tags"], flags["gpu_layers"]
    if template is not None:
        from ledlocal.runtime.template import read_template

        template = read_template(template).text
    if tags is not None:
        start, _, end = tags.partition(",")
        if not start or not end:
            raise BadInput(f"--think-tags takes START,END, not {tags!r}")
        tags = (start, end)
    if layers not in ("auto", "all") and not layers.isdecimal():
        raise BadInput(f"--gpu-layers takes auto, all or a number, not {layers!r}")
    context, threads = flags["ctx_size"], flags["threads"]
    if context == 0:
        context = _trained_context(path)
    fields = {
        "context": ("ctx_size", context), "threads": ("threads", None if threads == -1 else threads),
        "gpu_layers": ("gpu_layers", None if layers == "auto" else 1 << 20 if layers == "all" else int(layers)),
        "flash_attention": ("flash_attn", flags["flash_attn"]), "cache_type_k": ("cache_type_k", flags["cache_type_k"]),
        "cache_type_v": ("cache_type_v", flags["cache_type_v"]), "tap": ("tap", flags["tap"]), "depth": ("d", depth)}
    for name, (option, value) in fields.items():
        try:
            EngineOptions(str(path), **{name: value})
        except BadInput as error:
            raise BadInput(f"{origin_of(option)}: {error}") from None
    return EngineOptions(str(path), reproducible=flags["reproducible"], chat_template=template, think_tags=tags,
                         **{name: value for name, (_, value) in fields.items()})


def options_of(model: str, depth: int, flags: dict[str, Any]) -> EngineOptions:
    """How another model is loaded, by its name; flags hold for every model. Raises BadInput."""
    from ledlocal.config import read_config
    from ledlocal.models import resolve

    location = resolve(model, offline=flags["offline"], aliases=read_config().models)
    return engine_options(location.path, depth, flags)


def check_digest(path: Path, wanted: str) -> None:
    """Raise BadInput unless a model's SHA-256 begins so."""
    from ledlocal.digest import sha256_of_parts
    from ledlocal.stores.location import parts_of

    if len(wanted) < 8 or set(wanted.lower()) - set("0123456789abcdef"):
        raise BadInput(f"--sha256 takes at least 8 hexadecimal digits, not {wanted!r}")
    found = sha256_of_parts(parts_of(path))
    if not found.startswith(wanted.lower()):
        raise BadInput(f"{path}: its SHA-256 is {found}, not {wanted}")


def _trained_context(path: Path) -> int | None:
    from ledlocal.runtime.header import read_header

    header = read_header(path)
    trained = header.metadata.get(f"{header.architecture}.context_length")
    return trained if isinstance(trained, int) else None
