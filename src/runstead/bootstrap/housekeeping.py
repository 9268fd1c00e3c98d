"""What nobody can ask for any more is deleted from time to time, in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from runstead.infra.checkpoints.store import SqlCheckpoints
from runstead.infra.storage.items import SqlItemStore
from runstead.infra.storage.sweeper import StorageSweeper
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

    sweeping = asyncio.create_task(sweep_for_ever(), name="sweeper")
    try:
        yield
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)


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

    sweeping = asyncio.create_task(sweep_for_ever(), name="item-sweeper")
    try:
        yield
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
