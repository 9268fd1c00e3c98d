"""Follow-up work that runs to completion even if the requesting task is cancelled.

A client that disconnects cancels its request. Whatever the request has already committed must still be reported: to the
lease holder of a run that is to stop, and to the readers of a run that has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class BackgroundTasks:
    """Background tasks of one process."""

    def __init__(self) -> None:
        # The event loop itself keeps only weak references to tasks.
        self._running: set[asyncio.Task[object]] = set()
        self._detached: set[asyncio.Task[object]] = set()

    async def run_shielded(self, work: Coroutine[object, object, T]) -> T:
        """Await ``work``. If the caller is cancelled, ``work`` continues."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Start ``work`` in the background. ``join`` does not wait for it."""
        task = asyncio.ensure_future(work)
        self._detached.add(task)
        task.add_done_callback(self._detached.discard)
        task.add_done_callback(_log_failure)

    async def cancel_detached(self) -> None:
        """Cancel the tasks that ``begin`` started, and wait for them to end."""
        loose = list(self._detached)
        for task in loose:
            task.cancel()
        await asyncio.gather(*loose, return_exceptions=True)

    async def join(self) -> None:
        """Wait until all work that was passed to ``finish`` has ended."""
        while self._running:
            await asyncio.wait(list(self._running))


def _log_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.warning("background work failed after its caller was cancelled: %s", error)
