"""The agent of these tests as a project of its own; a file opens its gate."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.channels.graphs import Gate, agent


class FileGate(Gate):
    """Gate that is open when the file exists."""

    async def passed(self) -> None:
        while not Path(os.environ["RUNSTEAD_TEST_GATE"]).exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.02)


graph = agent(FileGate())
