"""Retention of a server's data: passes over all threads, by servers in turns or by a command."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeAlias

from runstead.infra.checkpoints.retention import CheckpointRetention
from runstead.infra.engines.sqlite import SqliteDatabase, open_sqlite
from runstead.infra.engines.sqlite_space import give_back_space
from runstead.infra.storage.database import Database
from runstead.infra.storage.retention import RuledThread, SqlRetention
from runstead.infra.storage.sweeps import RETENTION, SqlSweep, SweepProgress
from runstead.resources.retention import RetentionReport, RetentionRule, Ruled, sum_of
from runstead.runtime.clock import Clock, SystemClock
from runstead.runtime.pace import Pace
from runstead.runtime.periodic import beside, repeat
from runstead.runtime.runs.types import ThreadId
from runstead.settings import Settings

_log = logging.getLogger(__name__)

_EVERY: Final = timedelta(hours=1)
"""Time between the beginnings of two passes."""
_POLL: Final = 5.0
"""Seconds between two looks for a pass to make."""
_ROUND: Final = 60.0
"""Seconds after which a process lets others continue its pass."""
_SAVED: Final = 2.0
"""Seconds between two records of how far a pass has come: so much is repeated after a crash."""
_SHARE: Final = 0.1
"""Share of the time that a pass may work; it pauses in between, so that requests are not delayed."""
_SPACE: Final = 600.0
"""Seconds between two checks for free space."""
_PAGE: Final = 25
"""Threads that one step reads."""
_GROUP: Final = 200
"""Checkpoints of threads that are cleaned together, unless one thread alone has more."""


Deleted: TypeAlias = Mapping[ThreadId, RetentionReport]
"""Deletions of each thread."""
Act: TypeAlias = Callable[[Ruled, datetime, Pace], Awaitable[Deleted]]


class Retention:
    """Deletion of what the rules do not keep."""

    def __init__(
        self,
        rules: Sequence[RetentionRule],
        stored: SqlRetention,
        checkpoints: CheckpointRetention,
        clock: Clock,
        pace: Pace | None = None,
    ) -> None:
        self._rules, self._stored, self._checkpoints, self._clock = rules, stored, checkpoints, clock
        self._pace = pace or Pace(clock, _SHARE)

    async def run(self, *, dry: bool = False) -> RetentionReport:
        """Apply the rules to all threads, one after the other, and return what was deleted.

        ``dry``: change nothing, and return what would be deleted. A thread that fails is logged and counted.
        """
        report = RetentionReport()
        async for _, deleted in self.threads(None, dry=dry):
            report = report.plus(deleted)
        return report

    async def threads(
        self, after: ThreadId | None, *, dry: bool = False
    ) -> AsyncGenerator[tuple[ThreadId | None, RetentionReport]]:
        """Apply the rules to the threads after ``after`` in the order of their ids.

        Yields what was deleted, each time with the last thread of those that are done.
        """
        # A dry run delays no other write.
        pace = Pace(self._clock, 1) if dry else self._pace
        while page := await pace.step(self._stored.threads_after(after, self._rules, _PAGE)):
            seen: set[ThreadId] = set()
            async with aclosing(self._page([one for one in page if one.rule is not None], pace, dry)) as deletions:
                async for deleted in deletions:
                    there = {thread_id for thread_id, report in deleted.items() if report.deletes}
                    total = sum_of(deleted.values())
                    yield after, replace(total, threads=len(there - seen))
                    seen |= there
            after = page[-1].thread_id
            yield after, RetentionReport()

    async def _page(self, ruled: Sequence[RuledThread], pace: Pace, dry: bool) -> AsyncGenerator[Deleted]:
        """Yield what was deleted of these threads."""
        now = self._clock.now()
        rows = self._stored.planned if dry else self._stored.apply
        checkpoints = self._checkpoints.planned if dry else self._checkpoints.apply
        with_old_rows = await pace.step(self._stored.with_old_rows(ruled, now))
        for thread_id, rule in _rules_by_thread(ruled).items():
            if thread_id in with_old_rows:
                yield await self._guarded(rows, {thread_id: rule}, now, pace)
        counts = await pace.step(self._checkpoints.counts([one.thread_id for one in ruled]))
        for some in _groups(_rules_by_thread(ruled), counts):
            yield await self._guarded(checkpoints, some, now, pace)

    async def _guarded(self, act: Act, ruled: Ruled, now: datetime, pace: Pace) -> Deleted:
        """Return what was deleted of these threads. If one of them fails, each is tried on its own."""
        try:
            return await act(ruled, now, pace)
        except Exception:
            if len(ruled) == 1:
                (thread_id,) = ruled
                _log.exception("retention of thread %s failed", thread_id)
                return {thread_id: RetentionReport(failed=1)}
        deleted: dict[ThreadId, RetentionReport] = {}
        for thread_id, rule in ruled.items():
            deleted |= await self._guarded(act, {thread_id: rule}, now, pace)
        return deleted


def _rules_by_thread(ruled: Sequence[RuledThread]) -> Ruled:
    return {one.thread_id: one.rule for one in ruled if one.rule is not None}


def _groups(ruled: Ruled, counts: Mapping[ThreadId, int]) -> Iterator[Ruled]:
    """Yield the threads that may have checkpoints to delete, in groups with about _GROUP of them."""
    group: dict[ThreadId, RetentionRule] = {}
    size = 0
    for thread_id, rule in ruled.items():
        count = counts.get(thread_id, 1)
        if rule.may_delete_of(count):
            if group and size + count > _GROUP:
                yield group
                group, size = {}, 0
            group[thread_id] = rule
            size += count
    if group:
        yield group


class ThreadPass(Protocol):
    """Work over all threads in the order of their ids."""

    def threads(self, after: ThreadId | None) -> AsyncGenerator[tuple[ThreadId | None, RetentionReport]]:
        """Work on the threads after ``after``, and yield what was deleted, with the last thread that is done."""
        ...


class RetentionRounds:
    """Passes over all threads that the servers of a cluster make together: one at a time, each from where the last one
    stopped."""

    def __init__(self, retention: ThreadPass, sweep: SqlSweep, clock: Clock) -> None:
        self._retention, self._sweep, self._clock = retention, sweep, clock

    async def round(self) -> None:
        """Continue the pass that is due, for a minute, unless another process does so."""
        if (progress := await self._sweep.claim()) is None:
            return
        position, report = progress.position, RetentionReport.from_json(progress.deleted)
        saved = began = self._clock.monotonic()
        is_done = False
        try:
            async with aclosing(self._retention.threads(_thread(progress))) as threads:
                async for position, deleted in threads:
                    report, now = report.plus(deleted), self._clock.monotonic()
                    if now - began >= _ROUND:
                        return
                    if now - saved >= _SAVED:
                        saved = now
                        if not await self._sweep.advance(position, report.to_json()):
                            return
            is_done = await self._sweep.finish(report.to_json(), _EVERY)
        finally:
            if not is_done:
                # Without it, the pass continues after the term of this process's claim.
                with suppress(Exception):
                    await self._sweep.release(position, report.to_json())
        if is_done and (report.threads or report.failed):
            _log.info("retention deleted data", extra=report.to_json())


def _thread(progress: SweepProgress) -> ThreadId | None:
    return None if progress.position is None else ThreadId(progress.position)


def rules_of(settings: Settings) -> Sequence[RetentionRule]:
    """Return the rules of the settings, in their order."""
    return [RetentionRule(**rule.model_dump()) for rule in settings.retention]


@asynccontextmanager
async def retain_regularly(
    settings: Settings, database: Database, checkpoints: Database, files: Sequence[Database], clock: Clock
) -> AsyncIterator[None]:
    """Apply the rules every hour, and give free space of SQLite's ``files`` back, for the duration of a block."""
    rules = rules_of(settings)
    retention = Retention(rules, SqlRetention(database), CheckpointRetention(checkpoints, durable=False), clock)
    rounds = RetentionRounds(retention, SqlSweep(database, clock, RETENTION), clock)

    async def sweep() -> None:
        if rules:
            await rounds.round()

    async def shrink() -> None:
        for file in files:
            if isinstance(file, SqliteDatabase) and (given := await give_back_space(file, Pace(clock, _SHARE))):
                _log.info("gave free space of a database back", extra={"path": str(file.path), "bytes": given})

    def failed() -> None:
        _log.exception("retention failed")

    async with (
        beside(repeat(sweep, _POLL, clock, failed=failed), "retention"),
        beside(repeat(shrink, _SPACE, clock, failed=failed), "free-space"),
    ):
        yield


@asynccontextmanager
async def open_retention(settings: Settings) -> AsyncIterator[Retention]:
    """Open the storage that the settings name, for a command; a server may be running."""
    from .migrations import open_database

    clock = SystemClock()
    async with open_database(settings, migrating=settings.database_migrate_on_start) as database:
        stored = SqlRetention(database)
        if settings.is_cluster:
            yield Retention(rules_of(settings), stored, CheckpointRetention(database), clock)
            return
        from runstead.infra.engines.data_dir import CHECKPOINTS_FILE

        async with open_sqlite(settings.data_dir / CHECKPOINTS_FILE) as file:
            yield Retention(rules_of(settings), stored, CheckpointRetention(file), clock)
