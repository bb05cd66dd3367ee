"""The object that `--json` prints."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from ledlocal.reply import Reply
from ledlocal.values.events import Loaded
from ledlocal.values.params import EngineOptions


def to_object(reply: Reply, loaded: Loaded, options: EngineOptions, sha256: str) -> dict[str, Any]:
    """Everything about one reply: what was said, and all that it takes to repeat it. `sha256` is the model file's."""
    request, end = reply.request, reply.finished
    return {
        "answer": end.answer,
        "thinking": end.thinking,
        "finish": end.finish,
        "reason": end.reason,
        "tokens": {"prompt": end.prompt_tokens, "thinking": end.thinking_tokens, "answer": end.answer_tokens},
        "prompt_ids": reply.started.prompt_ids,
        "ids": end.ids,
        "seed": request.seed,
        "stream": {"problem": request.problem, "sample": end.sample, "continued": end.continued},
        "method": {
            "thinking": asdict(request.thinking), "answer": asdict(request.answer), "max_tokens": request.max_tokens,
            "reasoning": request.reasoning, "reasoning_budget": request.reasoning_budget, "stop": request.stop,
        },
        "model": model_object(loaded, sha256),
        "engine": engine_object(options),
        "tap": loaded.tap,
        "timing": {
            "load_s": loaded.load_s, "prefill_s": end.prefill_s, "decode_s": end.decode_s,
            "tokens_per_s": end.tokens_per_s,
        },
        "led": asdict(end.led) | {"d": len(end.led.depth_histogram)},
        "build": build_object(),
    }


def to_json(reply: Reply, loaded: Loaded, options: EngineOptions, sha256: str) -> str:
    """`to_object` on one line of ASCII. Raises ValueError for a number that JSON does not have."""
    return json.dumps(to_object(reply, loaded, options, sha256), ensure_ascii=True, allow_nan=False)


def model_object(loaded: Loaded, sha256: str) -> dict[str, Any]:
    """The model that ran. `sha256` is its file's."""
    model = loaded.model
    return {
        "path": model.path, "sha256": sha256, "architecture": model.architecture, "layers": model.layers,
        "context": model.context, "template_sha256": model.template_sha256,
        "think": {"start": model.think_start, "end": model.think_end, "found": model.think_found},
    }


def engine_object(options: EngineOptions) -> dict[str, Any]:
    """How it was loaded."""
    return {key: value for key, value in asdict(options).items() if key not in ("model", "chat_template")}


def build_object() -> dict[str, str]:
    """The programs."""
    return {"ledlocal": version("ledlocal"), "llama_cpp_python": version("llama-cpp-python")}
