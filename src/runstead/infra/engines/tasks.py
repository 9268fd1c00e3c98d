"""Tasks that talk to servers, ended for sure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

_AGAIN: Final = 0.1
"""Seconds until a task that did not end is told again."""


async def end_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them, and return when all have ended, however they did.

    Told once, a task may go on: before Python 3.12, asyncio.wait_for, which client libraries write to their sockets
    with, forgets that it was cancelled when what it waits for is done in the same moment.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN)
