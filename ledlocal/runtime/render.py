"""The child that renders chat templates: a program of its own, importing only jinja2 and the standard library.

A template comes from whoever made the model file, so it is a stranger's program. It runs in jinja2's sandbox, with
bounded operators and output, in a process whose processor time and memory the kernel limits.
Reads one JSON object from stdin: `{"template", "bos", "eos", "limits": {"cpu_s", "memory", "output"},
"jobs": [{"messages", "kwargs", "add_generation_prompt", "now"}]}` (`now`: ISO date and time; memory in bytes, output in
characters). Writes one to stdout: `{"results": [{"text"} | {"failure"}]}`, or `{"failure"}` if the template itself does
not compile. The environment is that of Hugging Face's chat_template_utils.py, as in llama-cpp-python.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_REPEAT = 1 << 20
"""Longest string or list that `*` may make, and widest `center`."""
MAX_BITS = 4096
"""Largest integer that `*` and `**` may make."""


class Generation(jinja2.ext.Extension):
    """`{% generation %}` marks what a trainer learns from; here it passes its content through."""

    tags = {"generation"}  # noqa: RUF012  (jinja2 declares it so)

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """The statements up to `{% endgeneration %}`."""
        parser.stream.skip(1)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Environment(ImmutableSandboxedEnvironment):
    """jinja2's sandbox, where no single operation can take long."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        """Evaluate an operator; raises SecurityError where the result would be huge."""
        if operator == "%" and isinstance(left, str):
            huge = bool(re.search(r"\d{5,}|\*", left))
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            huge = left.bit_length() * abs(right) > MAX_BITS
        elif operator == "*" and isinstance(left, int) and isinstance(right, int):
            huge = left.bit_length() + right.bit_length() > MAX_BITS
        elif operator == "*":
            sized, times = (right, left) if isinstance(left, int) else (left, right)
            huge = hasattr(sized, "__len__") and isinstance(times, int) and len(sized) * times > MAX_REPEAT
        else:
            huge = False
        if huge:
            raise SecurityError(f"the result of '{operator}' would be too large")
        return super().call_binop(context, operator, left, right)


def _center(value: str, width: int = 80) -> str:
    if width > MAX_REPEAT:
        raise SecurityError("the result of 'center' would be too large")
    return str(value).center(width)


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None,
            separators: tuple[str, str] | None = None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def environment() -> Environment:
    """The environment that chat templates are written for."""
    env = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters.update(tojson=_tojson, center=_center)
    env.globals["raise_exception"] = _raise_exception
    del env.globals["lipsum"]
    return env


def render_job(template: jinja2.Template, job: dict[str, Any], special: dict[str, str], limit: int) -> str:
    """One rendered prompt. Raises whatever the template raises, and SecurityError past `limit` characters."""
    now = datetime.fromisoformat(job["now"])
    strftime_now: Callable[[str], str] = now.strftime
    variables = {**special, "tools": None, "documents": None, **job["kwargs"], "messages": job["messages"],
                 "add_generation_prompt": job["add_generation_prompt"], "strftime_now": strftime_now}
    pieces: list[str] = []
    length = 0
    for piece in template.generate(variables):
        length += len(piece)
        if length > limit:
            raise SecurityError(f"it writes more than {limit} characters")
        pieces.append(piece)
    return "".join(pieces)


def _attempt(template: jinja2.Template, job: dict[str, Any], special: dict[str, str], limit: int) -> dict[str, str]:
    try:
        return {"text": render_job(template, job, special, limit)}
    except Exception as error:
        failure = {"failure": describe(error)}
        if not isinstance(error, TypeError) or "tools" in job["kwargs"]:
            return failure
    # Some templates measure `tools` without asking whether there are any: for them, none is an empty list.
    job = {**job, "kwargs": {**job["kwargs"], "tools": []}}
    try:
        return {"text": render_job(template, job, special, limit)}
    except Exception:
        return failure


def describe(error: Exception) -> str:
    """The cause in one printable line."""
    if isinstance(error, RecursionError):
        return "it nests or calls itself too deeply"
    if isinstance(error, MemoryError):
        return "it needs too much memory"
    line = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
    text = "".join(c if c.isprintable() else " " for c in str(error)[:1000])
    return (line + " ".join(text.split()))[:300] or type(error).__name__


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Render all jobs of a request."""
    special = {"bos_token": request["bos"], "eos_token": request["eos"]}
    try:
        template = environment().from_string(request["template"])
    except Exception as error:
        return {"failure": describe(error)}
    return {"results": [_attempt(template, job, special, request["limits"]["output"]) for job in request["jobs"]]}


def _limit(kind: int, soft: int, hard: int) -> None:
    """Set a limit, or leave one that is lower already."""
    _, allowed = resource.getrlimit(kind)
    if allowed != resource.RLIM_INFINITY:
        hard = min(hard, allowed)
    resource.setrlimit(kind, (min(soft, hard), hard))


def main() -> None:
    """Serve one request under its own limits."""
    request = json.load(sys.stdin)
    limits = request["limits"]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_CPU, limits["cpu_s"], limits["cpu_s"] + 1)
    if sys.platform == "linux":  # macOS refuses to limit address space
        _limit(resource.RLIMIT_AS, limits["memory"], limits["memory"])
    json.dump(answer(request), sys.stdout)


if __name__ == "__main__":
    main()
