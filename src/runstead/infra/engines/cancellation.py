"""Reliable cancellation of tasks that communicate with servers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

_AGAIN: Final = 0.1
"""Seconds until a task that has not ended is cancelled again."""


async def cancel_and_wait(tasks: Iterable[asyncio.Task[object]]) -> None:
    """Cancel the tasks, and return when all have ended, whatever their result.

    One cancellation may not be enough: before Python 3.12, asyncio.wait_for, which client libraries use to write to
    their sockets, loses a cancellation that arrives at the moment at which its awaitable completes.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN)
