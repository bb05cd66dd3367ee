"""`python -m ledlocal.bench FD PLAN`: started by bench/process.py, not by hand."""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

from ledlocal.bench.plan import plan_from_json
from ledlocal.values.errors import LedlocalError
from ledlocal.worker.process import UNEXPECTED, prepare_process


def main() -> None:
    """Measure what PLAN says and write one JSON object per line to the file descriptor FD."""
    prepare_process()
    code = 0
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8", buffering=1) as out:

        def tell(what: dict[str, Any]) -> None:
            out.write(json.dumps(what) + "\n")

        try:
            from ledlocal.bench.measurement import Measurement

            Measurement(plan_from_json(sys.argv[2]), tell).run()
        except LedlocalError as error:
            tell({"event": "failed", "kind": type(error).__name__, "message": str(error)})
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            code = UNEXPECTED
    os._exit(code)  # the library's threads may still run


if __name__ == "__main__":
    main()
