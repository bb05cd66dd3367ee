"""The process that measures, seen from the command: it may die of what it does, and what it told before is kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from tempfile import TemporaryFile
from typing import Any

from ledlocal.bench.plan import Plan
from ledlocal.values.errors import ERRORS, EngineDied, LedlocalError
from ledlocal.worker.process import exit_name, last_words

COMMAND = (sys.executable, "-P", "-m", "ledlocal.bench")


def measure(plan: Plan, command: Sequence[str] = COMMAND) -> Generator[dict[str, Any], None, None]:
    """What a measurement tells, as it tells it. Raises what it failed of, or EngineDied.

    Closing the iterator ends the process.
    """
    reading, writing = os.pipe()
    with TemporaryFile() as output, os.fdopen(reading, encoding="utf-8") as told:
        try:
            process = subprocess.Popen([*command, str(writing), plan.to_json()], stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=subprocess.STDOUT, pass_fds=(writing,),
                                       start_new_session=True)
        except OSError as error:
            raise EngineDied(f"the measurement did not start: {error}") from None
        finally:
            os.close(writing)
        try:
            for line in told:
                if not line.endswith("\n"):
                    break  # it died while it wrote
                event = json.loads(line)
                if event["event"] == "failed":
                    raise ERRORS.get(event["kind"], LedlocalError)(event["message"])
                yield event
            if code := process.wait():
                output.seek(0)
                raise EngineDied(f"engine died ({exit_name(code)}) while measuring {plan.options.model}: "
                                 f"{last_words(output.read(), code)}")
        finally:
            process.kill()
            process.wait()
