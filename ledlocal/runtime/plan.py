"""How a model is loaded: how much context and how many GPU layers fit, decided before its weights are read."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ledlocal.runtime.child import run_child
from ledlocal.runtime.ggml_types import number_of
from ledlocal.runtime.memory import HOST, STEP, Need, Needs, most_context, most_layers, shortage
from ledlocal.values.errors import BadInput, EngineDied, LedlocalError, OutOfResources
from ledlocal.values.params import EngineOptions

if TYPE_CHECKING:
    from ledlocal.runtime.footprint import Footprint
    from ledlocal.runtime.llama import ContextParams

DEFAULT_CONTEXT = 32768
"""Tokens, unless asked otherwise or trained with fewer."""
LEAST = 4096
"""Tokens of context for which layers leave the GPU, unless a context was asked for."""
FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
"""enum llama_flash_attn_type."""
UNIFIED_SLOTS = 16
"""Up to so many sequences share one KV cache; beyond, each row would attend over too many foreign cells."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model is loaded, and what it then takes."""

    context: int
    """Tokens per sequence."""
    gpu_layers: int | None
    needs: dict[str, Need]
    """By device; empty where this build of llama.cpp does not tell."""
    free: dict[str, int]
    """Bytes that were free, by device."""


def slots_of(options: EngineOptions) -> int:
    """Sequences in the KV cache: reproducible decodes have a second row."""
    return max(2, options.slots) if options.reproducible else options.slots


def params_of(options: EngineOptions, context: int, threads: int = 1) -> ContextParams:
    """A context of `context` tokens per sequence; threads take no memory worth planning."""
    from ledlocal.runtime.llama import context_params  # the parent process, which asks plan_of, never loads llama.cpp

    slots = slots_of(options)
    params = context_params(context, slots, options.batch, threads,
                            not options.reproducible and slots <= UNIFIED_SLOTS)
    params.flash_attn_type = FLASH_ATTENTION[options.flash_attention]
    params.type_k, params.type_v = number_of(options.cache_type_k), number_of(options.cache_type_v)
    return params


def plan_load(options: EngineOptions, wanted: int, extra_buffers: bool) -> Plan:
    """At most `wanted` tokens per sequence, and no fewer than `options.context`.

    Raises BadInput if llama.cpp refuses the file, OutOfResources naming the largest context that fits.
    """
    from ledlocal.runtime.footprint import Footprint

    with closing(Footprint(options, extra_buffers)) as whole:
        if not whole.known:
            return Plan(wanted, options.gpu_layers, {}, {})
        least = options.context or min(wanted, LEAST)
        needs = whole.needs(params_of(options, least))
        free = whole.free(needs)
        on_gpu = options.gpu_layers is None and shortage(needs, free) not in ("", HOST)
        if not on_gpu:
            return _planned(whole, options, wanted, free)

    def needs_with(layers: int) -> Needs:
        with closing(Footprint(options, extra_buffers, layers)) as part:
            return part.needs(params_of(options, least))

    on_gpus = {device: amount for device, amount in free.items() if device != HOST}  # the host gives where they take
    layers = most_layers(needs_with, whole.model.n_layer + 1, on_gpus)
    with closing(Footprint(options, extra_buffers, layers)) as part:
        return _planned(part, options, wanted, free)


def _planned(footprint: Footprint, options: EngineOptions, wanted: int, free: dict[str, int]) -> Plan:
    def needs_at(context: int) -> dict[str, Need]:
        return footprint.needs(params_of(options, context))

    most = most_context(needs_at, wanted, free)
    if not most or (options.context and most < options.context):
        raise _refusal(options, needs_at(options.context or STEP), free, most)
    return Plan(most, footprint.gpu_layers, needs_at(most), free)


def _refusal(options: EngineOptions, needs: Needs, free: dict[str, int], most: int) -> OutOfResources:
    """About a context that does not fit; `most`: the largest that does, 0 if none."""
    device, slots = shortage(needs, free), slots_of(options)
    return OutOfResources(
        f"{options.model}: needs {needs[device].total / 2**30:.2f} GiB {'' if device == HOST else f'on {device} '}for "
        f"{options.context or STEP} tokens of context{f' x {slots}' if slots > 1 else ''}, "
        f"{max(free[device], 0) / 2**30:.2f} GiB are free; "
        + (f"the largest context that fits is {most}" if most else "no context fits"))


def plan_of(path: Path, wanted: int) -> Plan:
    """The plan for one sequence, made in a process of its own, which may die of the file.

    Raises BadInput, OutOfResources or EngineDied.
    """
    child = run_child("ledlocal.runtime.plan", str(path), str(wanted))
    if child.returncode:
        last = child.stderr.strip().rpartition("\n")[2] or f"exit {child.returncode}"
        raise EngineDied(f"{path}: llama.cpp died while planning its memory: {last}")
    answer = json.loads(child.stdout.splitlines()[-1])
    if "error" in answer:
        raise (OutOfResources if answer["code"] == OutOfResources.exit_code else BadInput)(answer["error"])
    return Plan(**answer | {"needs": {device: Need(**need) for device, need in answer["needs"].items()}})


def main() -> None:
    """Plan for plan_of."""
    try:
        from ledlocal.runtime import amx

        answer = asdict(plan_load(EngineOptions(sys.argv[1]), int(sys.argv[2]), amx.usable()))
    except LedlocalError as error:
        answer = {"error": str(error), "code": error.exit_code}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
