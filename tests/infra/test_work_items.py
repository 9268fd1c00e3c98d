"""Results of database threads reach their callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import Connection

from runstead.infra.engines.work_item import WorkItem, resolve_all


class LoopWithoutMemory:
    """A loop on which calls can be scheduled only at the third try; the second one is scheduled all the same."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._tries = loop, 0

    def call_soon_threadsafe(self, function: Callable[..., object], *words: object) -> None:
        self._tries += 1
        if self._tries > 1:
            self._loop.call_soon_threadsafe(function, *words)
        if self._tries < 3:
            raise MemoryError


def work(connection: Connection) -> None:
    return


async def test_result_is_delivered_once_when_there_is_memory_again() -> None:
    loop, committed = asyncio.get_running_loop(), list[Any]()
    short_of_memory = cast(asyncio.AbstractEventLoop, LoopWithoutMemory(loop))
    job = WorkItem(work, committed.append, True, loop.create_future(), short_of_memory)
    job.result = "done"
    await asyncio.to_thread(resolve_all, [job])
    async with asyncio.timeout(30):
        assert await job.future == "done"
    await asyncio.sleep(0)
    assert committed == ["done"]
