"""The picture of the README: what `ledlocal tui demo` looks like, on the demo model. Its speed is this machine's.

    python benchmarks/tui_picture.py docs/tui.svg
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from ledlocal.conversation import Conversation
from ledlocal.models import DEMO
from ledlocal.settings import Settings
from ledlocal.values.params import EngineOptions
from ledlocal.worker.client import Worker
from ledlocal_tui.app import LedlocalApp
from ledlocal_tui.widgets.prompt import Prompt

SIZE = (120, 34)
QUESTION, SEED = "Use 3, 4, 5 and 7 to make 30.", 17


def main() -> None:
    """Command line."""
    Path(sys.argv[1]).write_text(asyncio.run(chat()))


async def chat() -> str:
    """A reply of the real model: the thought is over within a redraw or two."""
    engine = Worker(EngineOptions(str(DEMO), threads=1, reproducible=True))
    app = LedlocalApp(lambda _name: engine, Settings(seed=SEED), Conversation(model="demo"), None)
    try:
        async with app.run_test(size=SIZE) as pilot:
            while app.chat.dialogue is None:
                await pilot.pause(0.05)
            app.chat.query_one(Prompt).text = QUESTION
            await pilot.press("enter")
            while app.chat.answering is not None or not app.chat.dialogue.conversation.turns:
                await pilot.pause(0.05)
            await pilot.pause(0.5)
            return app.export_screenshot(simplify=True)
    finally:
        app.drop_engine()


if __name__ == "__main__":
    main()
