"""What nobody can ask for any more is deleted from time to time, in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from runstead.infra.checkpoints.store import SqlCheckpoints
from runstead.infra.storage.items import SqlItemStore
from runstead.infra.storage.sweeper import StorageSweeper
from runstead.resources.expiry import ThreadExpiry
from runstead.runtime.clock import Clock

_log = logging.getLogger(__name__)

_EVERY: Final = 60.0
"""Seconds between two sweeps."""


@asynccontextmanager
async def sweep_regularly(
    sweeper: StorageSweeper, checkpoints: SqlCheckpoints, retention: timedelta
) -> AsyncIterator[None]:
    """Sweep now and then, for the length of a block. A sweep that fails is logged, and tried again at its next time."""

    async def sweep_for_ever() -> None:
        while True:
            await asyncio.sleep(_EVERY)
            try:
                swept = await sweeper.sweep(retention)
                for thread_id in swept.threads:
                    await checkpoints.delete_thread(thread_id)
            except Exception:
                _log.exception("sweeping failed")

    async with _beside(sweep_for_ever(), "sweeper"):
        yield


@dataclass(frozen=True, slots=True)
class Sweeps:
    """The time between two sweeps for threads whose time is over, and how many threads one deals with at most."""

    every: timedelta = timedelta(minutes=5)
    limit: int = 1_000


@asynccontextmanager
async def expire_regularly(expiry: ThreadExpiry, sweeps: Sweeps, clock: Clock) -> AsyncIterator[None]:
    """Sweep threads whose time is over, at once and then now and then, for the length of a block."""

    async def sweep_for_ever() -> None:
        while True:
            try:
                if swept := await expiry.sweep(sweeps.limit):
                    _log.info("%d threads had expired and were swept", swept)
            except Exception:
                _log.exception("sweeping expired threads failed")
            await clock.sleep(sweeps.every.total_seconds())

    async with _beside(sweep_for_ever(), "thread-expiry"):
        yield


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """Done beside a block, until its end."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def sweep_items_regularly(items: SqlItemStore, clock: Clock, every: float) -> AsyncIterator[None]:
    """Delete items that have expired, each ``every`` seconds, for the length of a block; a failure is logged."""

    async def sweep_for_ever() -> None:
        while True:
            await clock.sleep(every)
            try:
                await items.sweep()
            except Exception:
                _log.exception("sweeping items failed")

    async with _beside(sweep_for_ever(), "item-sweeper"):
        yield
