"""Work that is carried to its end although the one who asked for it leaves in the middle.

A client that hangs up cancels its request. What the request has written durably by then must still be told: to the
holder of a run that is to stop, to the readers of one that has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Errands:
    """The errands of one process."""

    def __init__(self) -> None:
        # The loop itself holds tasks weakly.
        self._running: set[asyncio.Task[Any]] = set()
        self._loose: set[asyncio.Task[Any]] = set()

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``. Cancelling the await leaves the work running."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Let ``work`` go on by itself; nobody waits for it, not even at the end."""
        task = asyncio.ensure_future(work)
        self._loose.add(task)
        task.add_done_callback(self._loose.discard)
        task.add_done_callback(_log_failure)

    async def drop(self) -> None:
        """End what was begun and is not done."""
        loose = list(self._loose)
        for task in loose:
            task.cancel()
        await asyncio.gather(*loose, return_exceptions=True)

    async def all_done(self) -> None:
        """Return when nothing is under way any more."""
        while self._running:
            await asyncio.wait(list(self._running))


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.warning("an errand whose caller had left failed: %s", error)
