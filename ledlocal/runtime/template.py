"""Chat templates, rendered in a short-lived child: whatever one does, this process only sees text or one sentence."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ledlocal.values.errors import BadInput, OutOfResources

MAX_TEMPLATE = 256 * 1024
"""Characters in a template; the largest that llama.cpp ships has 16,738."""
CPU_S = 2
"""Processor time of a child, its start included (0.06 s)."""
WALL_S = 20.0
"""Clock time of a child: a backstop for a machine too busy to give it its 2 seconds of processor time."""
MEMORY = 512 * 1024 * 1024
"""Address space of a child, in bytes."""
MAX_OUTPUT = 4 * 1024 * 1024
"""Characters in one rendered prompt."""

_CHILD = str(Path(__file__).with_name("render.py"))


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A template's text, and `origin` for messages: `the chat template of <file>`, or where else it came from."""

    text: str
    origin: str
    bos: str = ""
    """Text of the beginning-of-sequence token, for templates that write it themselves."""
    eos: str = ""

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise self.refuse("it is empty; give one with --chat-template-file")
        if len(self.text) > MAX_TEMPLATE:
            raise self.refuse(f"it has {len(self.text)} characters; at most {MAX_TEMPLATE} are allowed")

    def refuse(self, cause: str) -> BadInput:
        """The error to raise: one line naming the template and the cause."""
        return BadInput(f"{self.origin}: {cause}")


@dataclass(frozen=True, slots=True)
class Job:
    """One render: messages as templates take them, the template's own switches, and the date it may print."""

    messages: Sequence[dict[str, Any]]
    kwargs: dict[str, Any] = field(default_factory=dict)
    add_generation_prompt: bool = True
    now: datetime | None = None
    """What `strftime_now` tells the template. None: the clock."""


@dataclass(frozen=True, slots=True)
class TemplateFailure:
    """A render that the template refused or broke on; `cause` is one printable line."""

    cause: str


def read_template(path: Path, bos: str = "", eos: str = "") -> ChatTemplate:
    """The template in a file. Raises BadInput if it cannot be read, is not UTF-8, empty or too long."""
    try:
        with path.open(encoding="utf-8") as file:
            return ChatTemplate(file.read(MAX_TEMPLATE + 1), f"the chat template {path}", bos, eos)
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"{path}: cannot read the chat template: {cause}") from None


def render(template: ChatTemplate, jobs: Sequence[Job]) -> list[str | TemplateFailure]:
    """Render all `jobs` in one child, each to its text or its own failure.

    Raises BadInput if the template does not compile or runs into a limit (2 s of processor time, 512 MiB) in any job.
    """
    now = datetime.now()
    request = {
        "template": template.text, "bos": template.bos, "eos": template.eos,
        "limits": {"cpu_s": CPU_S, "memory": MEMORY, "output": MAX_OUTPUT},
        "jobs": [{"messages": list(job.messages), "kwargs": job.kwargs, "now": (job.now or now).isoformat(),
                  "add_generation_prompt": job.add_generation_prompt} for job in jobs],
    }
    reply = _ask(template, json.dumps(request).encode())
    if "failure" in reply:
        raise template.refuse(reply["failure"])
    return [r["text"] if "text" in r else TemplateFailure(r["failure"]) for r in reply["results"]]


def render_one(template: ChatTemplate, job: Job) -> str:
    """One prompt. Raises BadInput with the template's own words if it refuses the conversation."""
    result = render(template, [job])[0]
    if isinstance(result, TemplateFailure):
        raise template.refuse(result.cause)
    return result


def _ask(template: ChatTemplate, request: bytes) -> dict[str, Any]:
    """Send a request to a fresh child. `-I` keeps the user's own modules and PYTHON* variables out of it."""
    try:
        child = subprocess.run([sys.executable, "-I", _CHILD], input=request, capture_output=True, timeout=WALL_S,
                               check=False)
    except subprocess.TimeoutExpired:
        raise template.refuse(f"it did not finish within {WALL_S:g} s") from None
    except OSError as error:
        raise OutOfResources(f"cannot start the process that renders chat templates: {error}") from None
    if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise template.refuse(f"it takes more than {CPU_S} s to render")
    if child.returncode < 0:
        raise template.refuse(f"rendering it ended with {signal.Signals(-child.returncode).name}")
    if child.returncode:
        last = child.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise template.refuse(f"rendering it failed: {last[:300]}")
    reply: dict[str, Any] = json.loads(child.stdout)
    return reply
