"""What a model file says about itself, read from its header alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

from ledlocal.digest import sha256_of_parts
from ledlocal.methods.led import layers_of
from ledlocal.runtime.header import Header, read_header
from ledlocal.runtime.markers import Markers, find_markers, markers_from_vocabulary, thinking_of
from ledlocal.runtime.memory import HOST, Need
from ledlocal.runtime.plan import DEFAULT_CONTEXT, Plan, plan_of
from ledlocal.runtime.preflight import check_model
from ledlocal.runtime.scanner import StringArray
from ledlocal.runtime.template import ChatTemplate
from ledlocal.stores.location import Location, parts_of, readable
from ledlocal.values.errors import BadInput, EngineDied, OutOfResources
from ledlocal.values.params import PRESETS


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a model thinks."""

    start: str | None
    ends: tuple[str, ...]
    found: str
    opened_by: str
    """`template` or `model`."""
    switch: bool
    """Whether the template can turn it off."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Facts of one file."""

    name: str
    path: str
    origin: str
    architecture: str
    parameters: int
    weights: dict[str, float]
    """Share of the parameters stored in each type, largest first."""
    size: int
    """Bytes, all parts."""
    parts: int
    sha256: str
    layers: int
    width: int
    vocabulary: int
    tied_head: bool
    trained_context: int
    led_layers: dict[str, tuple[int, ...]]
    """Preset -> layers that LED reads besides the final one, 1-based."""
    thinking: Thinking | None
    chat_template: bool
    context_here: int
    """Most tokens of one sequence that fit in memory now, at most the trained ones; 0: not even 256."""
    memory: dict[str, Need]
    """What they take, by device; empty if nothing fits, or where this build of llama.cpp does not tell."""
    free: dict[str, int]
    """Bytes, by device."""
    refused: str
    """Why ledlocal does not load it; empty if it does."""


def model_info(location: Location) -> ModelInfo:
    """Look at a model without loading it. Raises BadInput if its header cannot be read."""
    headers = [read_header(part) for part in parts_of(location.path)]
    first = headers[0]
    trained = _integer(first, "context_length")
    refused, thinking, plan = "", None, Plan(0, None, {}, {})
    try:
        check_model(first)
        thinking = _thinking(first, location.path)
        plan = plan_of(location.path, min(trained or DEFAULT_CONTEXT, 1 << 20))
    except (BadInput, EngineDied) as error:
        refused = str(error)
    except OutOfResources:
        pass  # told as a context of 0
    tensors = [info for header in headers for info in header.tensors.values()]
    counts = Counter[str]()
    for info in tensors:
        counts[info.type] += prod(info.dims)
    layers = _integer(first, "block_count")
    name = first.metadata.get("general.name")
    tokens = first.metadata.get("tokenizer.ggml.tokens")
    return ModelInfo(
        name if isinstance(name, str) else location.path.stem, str(location.path), location.origin, first.architecture,
        counts.total(), {kind: n / counts.total() for kind, n in counts.most_common()}, location.size, len(headers),
        sha256_of_parts(parts_of(location.path)), layers, _integer(first, "embedding_length"),
        len(tokens) if isinstance(tokens, StringArray) else 0,
        not any(name.startswith("output.weight") for header in headers for name in header.tensors), trained,
        {preset: layers_of(led, layers) for preset, led in PRESETS.items()} if layers else {},
        thinking, "tokenizer.chat_template" in first.metadata, plan.context, plan.needs, plan.free, refused)


def lines(info: ModelInfo) -> list[str]:
    """The facts, readable."""
    types = " · ".join(f"{kind} {share:.0%}" for kind, share in info.weights.items() if share >= 0.005)
    shown = [f"{info.name} · {info.architecture} · {_count(info.parameters)} parameters · {readable(info.size)}",
             f"file      {info.path} ({info.origin}{f', {info.parts} parts' if info.parts > 1 else ''})",
             f"sha256    {info.sha256}",
             f"weights   {types}",
             f"layers    {info.layers} of width {info.width} · {info.vocabulary} tokens · "
             f"output head {'tied to the embedding' if info.tied_head else 'of its own'}"]
    shown += [f"LED       preset {preset}: reads layers {_ranges(layers)}, and the final {info.layers}"
              for preset, layers in info.led_layers.items()]
    shown.append(_thinking_line(info))
    if info.refused:
        shown.append(f"refused   {info.refused}")
    else:
        shown += _fits(info)
    return shown


def _thinking(header: Header, path: Path) -> Thinking | None:
    """Markers and switch, found as the engine finds them. Raises BadInput for a template that is refused."""
    text = header.metadata.get("tokenizer.chat_template")
    template = ChatTemplate(text, f"the chat template of {path}") if isinstance(text, str) else None
    markers = (find_markers(template) if template else None) or _from_vocabulary(header)
    if markers is None:
        return None
    on, off = (thinking_of(template, way, markers) if template else None for way in ("on", "off"))
    opened = on is not None and on.phase == "open"
    return Thinking(markers.start, markers.ends, markers.found, "template" if opened else "model",
                    off is not None and on is not None and off.phase == "closed" and on.phase != "closed")


def _from_vocabulary(header: Header) -> Markers | None:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, StringArray):
        return None
    known = set(tokens.raws())
    return markers_from_vocabulary(lambda text: text.encode() in known)


def _thinking_line(info: ModelInfo) -> str:
    if info.thinking is None:
        return "thinking  none found: LED explores only with --scope all"
    one = info.thinking
    return (f"thinking  {one.start or '(the turn)'} … {one.ends[0]} · opened by the {one.opened_by} · "
            f"found by {one.found} · {'--reasoning off turns it off' if one.switch else 'no switch'}")


def _fits(info: ModelInfo) -> list[str]:
    """What context fits, and what it takes of each device."""
    if not info.context_here:
        return ["fits      no: not even 256 tokens of context fit in the memory that is free"]
    most = "all" if info.context_here >= info.trained_context else f"{info.context_here}"
    shown = [f"fits      {most} of {info.trained_context} trained tokens of context"]
    for device, need in info.memory.items():
        free = f" of {_gib(info.free[device])} free" if device in info.free else ""
        shown.append(f"{'memory' if device == HOST else device:9} {_gib(need.total)}{free}: "
                     f"{_gib(need.weights)} weights + {_gib(need.cache)} KV cache + {_gib(need.compute)} to compute")
    return shown


def _integer(header: Header, key: str) -> int:
    value = header.metadata.get(f"{header.architecture}.{key}")
    return value if isinstance(value, int) else 0


def _count(parameters: int) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if parameters >= size:
            return f"{parameters / size:.2f} {unit}"
    return str(parameters)


def _ranges(layers: tuple[int, ...]) -> str:
    """Layers as they are read: 34 … 28 where they follow each other."""
    if not layers:
        return "none"
    following = all(a - 1 == b for a, b in pairwise(layers))
    return f"{layers[0]} … {layers[-1]}" if following and len(layers) > 2 else ", ".join(map(str, layers))


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
