"""Background loops of a server: expired threads, old data, and crons."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from runstead.auth.api_keys import AUTH_SOURCE
from runstead.gateway.auth.authorization import authorize_run
from runstead.gateway.services import Services
from runstead.infra.crons.scheduler import CronScheduler, CronSettings
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.infra.storage.items.store import SqlItemStore
from runstead.infra.storage.sweeper import StorageSweeper
from runstead.resources.crons import CronRecord
from runstead.resources.thread_expiry import ThreadExpiry
from runstead.resources.thread_files import ThreadFiles
from runstead.runtime.clock import Clock, SystemClock
from runstead.runtime.periodic import beside, repeat
from runstead.runtime.runs.store import FrameArchive, RunCheckpointStore, RunEventStore
from runstead.settings import Settings
from runstead.wire.errors import Forbidden
from runstead.wire.runs import RunCreate

from .run_access import RunAccessCheck

_log = logging.getLogger(__name__)

_EVERY: Final = 60.0
"""Seconds between two sweeps."""
_HOUR: Final = 3_600.0


@asynccontextmanager
async def sweep_regularly(
    sweeper: StorageSweeper,
    checkpoints: RunCheckpointStore,
    events: RunEventStore,
    retention: timedelta,
    files: ThreadFiles | None = None,
) -> AsyncIterator[None]:
    """Sweep at intervals, for the duration of a block. A failing sweep is logged, and repeated at the next interval."""

    async def sweep() -> None:
        swept = await sweeper.sweep(retention)
        for thread_id in swept.threads:
            await checkpoints.delete_thread(thread_id)
            if files is not None:
                await files.delete_files_of(thread_id, None)
        await events.delete_threads(swept.threads)

    sweeping = repeat(sweep, _EVERY, SystemClock(), failed=lambda: _log.exception("sweeping failed"))
    async with beside(sweeping, "sweeper"):
        yield


@asynccontextmanager
async def delete_old_events_regularly(
    events: RunEventStore, kept: timedelta | None, clock: Clock
) -> AsyncIterator[None]:
    """Delete events of runs that are older than ``kept``, at once and then every hour, for the duration of a block.

    None: keep them.
    """
    if kept is None:
        yield
        return

    async def sweep() -> None:
        if deleted := await events.delete_before(clock.now() - kept):
            _log.info("deleted %d events of runs that were older than %s", deleted, kept)

    def failed() -> None:
        _log.exception("could not delete old events of runs")

    async with beside(repeat(sweep, _HOUR, clock, failed=failed, at_once=True), "old-events"):
        yield


@asynccontextmanager
async def trim_archive_regularly(
    archive: FrameArchive | None, kept: timedelta, most_bytes: int, clock: Clock
) -> AsyncIterator[None]:
    """Delete archived streams that are older than ``kept``, and the oldest ones beyond ``most_bytes`` in total."""
    if archive is None:
        yield
        return

    async def sweep() -> None:
        if deleted := await archive.delete_before(clock.now() - kept) + await archive.delete_beyond(most_bytes):
            _log.info("deleted the archived streams of %d runs", deleted)

    def failed() -> None:
        _log.exception("could not delete old archived streams")

    async with beside(repeat(sweep, _EVERY, clock, failed=failed, at_once=True), "archived-streams"):
        yield


@dataclass(frozen=True, slots=True)
class Sweeps:
    """Interval between two sweeps of expired threads, and the maximum number of threads per sweep."""

    every: timedelta = timedelta(minutes=5)
    limit: int = 1_000


@asynccontextmanager
async def expire_regularly(expiry: ThreadExpiry, sweeps: Sweeps, clock: Clock) -> AsyncIterator[None]:
    """Sweep expired threads, at once and then at intervals, for the duration of a block."""

    async def sweep() -> None:
        if swept := await expiry.sweep(sweeps.limit):
            _log.info("cleaned up %d expired threads", swept)

    def failed() -> None:
        _log.exception("could not clean up expired threads")

    sweeping = repeat(sweep, sweeps.every.total_seconds(), clock, failed=failed, at_once=True)
    async with beside(sweeping, "thread-expiry"):
        yield


@asynccontextmanager
async def sweep_items_regularly(items: SqlItemStore, clock: Clock, every: float) -> AsyncIterator[None]:
    """Delete expired items every ``every`` seconds, for the duration of a block. A failure is logged."""

    sweeping = repeat(items.sweep, every, clock, failed=lambda: _log.exception("sweeping items failed"))
    async with beside(sweeping, "item-sweeper"):
        yield


def cron_scheduler(services: Services, access: RunAccessCheck, bell: WakeupSignal, settings: Settings) -> CronScheduler:
    """Return a scheduler that is not running yet. ``bell`` is notified when this process creates or changes a cron."""

    async def granted(cron: CronRecord, run: RunCreate) -> RunCreate:
        if cron.actor.auth_source == AUTH_SOURCE and await access.has_lost_key(cron.actor):
            raise Forbidden(
                f"suspended: the API key {cron.actor.subject_id} that made or changed it last is revoked; "
                "its user can resume it by changing it with another key"
            )
        # Each run is authorized as if its user had created it just now.
        return await authorize_run(services, cron.thread_id, run)

    return CronScheduler(
        services.crons,
        services.runs,
        services.assistant_lookup,
        services.threads,
        bell,
        services.clock,
        CronSettings(grace=timedelta(seconds=settings.cron_grace_seconds)),
        granted,
    )
