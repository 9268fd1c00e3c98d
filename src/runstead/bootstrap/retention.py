"""Retention of a server's data: passes over all threads, at intervals or by a command."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from runstead.infra.checkpoints.retention import CheckpointRetention
from runstead.infra.engines.sqlite import SqliteDatabase, open_sqlite
from runstead.infra.engines.sqlite_space import give_back_space
from runstead.infra.storage.database import Database
from runstead.infra.storage.retention import RuledThread, SqlRetention
from runstead.resources.retention import RetentionReport, RetentionRule
from runstead.runtime.clock import Clock, SystemClock
from runstead.runtime.periodic import beside, repeat
from runstead.settings import Settings

_log = logging.getLogger(__name__)

_EVERY: Final = 3_600.0
"""Seconds between two passes."""
_PAGE: Final = 100
_PAUSE: Final = 0.02
"""Seconds between two threads that were changed, so that requests are not delayed."""


class Retention:
    """Deletion of what the rules do not keep."""

    def __init__(
        self, rules: Sequence[RetentionRule], stored: SqlRetention, checkpoints: CheckpointRetention, clock: Clock
    ) -> None:
        self._rules, self._stored, self._checkpoints, self._clock = rules, stored, checkpoints, clock

    async def run(self, *, dry: bool = False) -> RetentionReport:
        """Apply the rules to all threads, one after the other, and return what was deleted.

        ``dry``: change nothing, and return what would be deleted. A thread that fails is logged and counted.
        """
        report, last = RetentionReport(), None
        while page := await self._stored.threads_after(last, self._rules, _PAGE):
            last = page[-1].thread_id
            ruled = [one for one in page if one.rule is not None]
            several = await self._checkpoints.with_several([one.thread_id for one in ruled])
            for thread in ruled:
                report = report.plus(await self._apply(thread, thread.thread_id in several, dry))
        return report

    async def _apply(self, thread: RuledThread, has_several: bool, dry: bool) -> RetentionReport:
        assert thread.rule is not None
        thread_id, rule, now = thread.thread_id, thread.rule, self._clock.now()
        report = RetentionReport()
        try:
            if rule.runs_days is not None or rule.events_days is not None:
                act = self._stored.planned if dry else self._stored.apply
                report = report.plus(await act(thread_id, rule, now))
            if has_several and rule.limits_checkpoints:
                prune = self._checkpoints.planned if dry else self._checkpoints.apply
                report = report.plus(await prune(thread_id, rule, now))
        except Exception:
            _log.exception("retention of thread %s failed", thread_id)
            return report.plus(RetentionReport(failed=1))
        if report.threads and not dry:
            await self._clock.sleep(_PAUSE)
        return report


def rules_of(settings: Settings) -> Sequence[RetentionRule]:
    """Return the rules of the settings, in their order."""
    return [RetentionRule(**rule.model_dump()) for rule in settings.retention]


@asynccontextmanager
async def retain_regularly(
    settings: Settings, database: Database, checkpoints: Database, files: Sequence[Database], clock: Clock
) -> AsyncIterator[None]:
    """Apply the rules every hour, and give free space of SQLite's ``files`` back, for the duration of a block."""
    rules = rules_of(settings)
    stored = SqlRetention(database, clock)
    retention = Retention(rules, stored, CheckpointRetention(checkpoints, durable=False), clock)

    async def sweep() -> None:
        if rules and (report := await retention.run()).threads:
            _log.info("retention deleted data", extra=report.to_json())
        for file in files:
            if isinstance(file, SqliteDatabase) and (given := await give_back_space(file)):
                _log.info("gave free space of a database back", extra={"path": str(file.path), "bytes": given})

    def failed() -> None:
        _log.exception("retention failed")

    async with beside(repeat(sweep, _EVERY, clock, failed=failed), "retention"):
        yield


@asynccontextmanager
async def open_retention(settings: Settings) -> AsyncIterator[Retention]:
    """Open the storage that the settings name, for a command; a server may be running."""
    from .migrations import open_database

    clock = SystemClock()
    async with open_database(settings, migrating=settings.database_migrate_on_start) as database:
        stored = SqlRetention(database, clock)
        if settings.is_cluster:
            yield Retention(rules_of(settings), stored, CheckpointRetention(database), clock)
            return
        from runstead.infra.engines.data_dir import CHECKPOINTS_FILE

        async with open_sqlite(settings.data_dir / CHECKPOINTS_FILE) as file:
            yield Retention(rules_of(settings), stored, CheckpointRetention(file), clock)
