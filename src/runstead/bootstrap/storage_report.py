"""Figures of the stored data for `runstead doctor`: queue, workers, sizes, growth. Nothing is changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from runstead.infra.engines.data_dir import CHECKPOINTS_FILE, RUNS_FILE
from runstead.infra.storage.database_clock import DatabaseClock
from runstead.infra.storage.queue_figures import QueueFigures, queue_figures
from runstead.infra.storage.schema import runs
from runstead.infra.storage.sizes import DatabaseSize, database_sizes
from runstead.settings import Settings

_DAY: Final = timedelta(days=1)
_WORKERS: Final = "SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > now() - interval '1 minute'"


@dataclass(frozen=True, slots=True)
class StorageReport:
    """The stored data at one moment. ``workers``: processes that execute runs; None where they are not recorded."""

    queue: QueueFigures
    runs: int
    runs_of_last_day: int
    sizes: Mapping[str, DatabaseSize] = field(default_factory=dict)
    workers: int | None = None

    @property
    def bytes_a_day(self) -> float:
        """The growth of the last day, estimated by its share of all stored runs."""
        used = sum(size.used - size.free for size in self.sizes.values())
        return used * self.runs_of_last_day / self.runs if self.runs else 0.0


def report_of_files(data_dir: Path) -> StorageReport | None:
    """Return the report of a data directory; None if it has no database, or one of an earlier version."""
    if not (data_dir / RUNS_FILE).exists():
        return None
    files = {"runs": data_dir / RUNS_FILE, "checkpoints": data_dir / CHECKPOINTS_FILE}
    engine = create_engine("sqlite://", creator=lambda: _read_only(data_dir / RUNS_FILE), poolclass=NullPool)
    try:
        sizes = {name: _size(file) for name, file in files.items() if file.exists()}
        with engine.connect() as connection:
            return _report(connection, datetime.now(UTC), sizes, None)
    except (sqlite3.Error, DBAPIError):
        # Another check says why it cannot be read.
        return None
    finally:
        engine.dispose()


async def report_of_cluster(settings: Settings) -> StorageReport:
    """Return the report of a cluster. Raises StorageError."""
    from runstead.infra.engines.postgres import open_postgres

    from .postgres_options import postgres_options

    assert settings.database_url is not None
    async with (
        open_postgres(settings.database_url.get_secret_value(), postgres_options(settings)) as database,
        DatabaseClock.running(database) as clock,
    ):
        sizes = await database_sizes([database])

        def work(connection: Connection) -> StorageReport:
            workers = int(connection.exec_driver_sql(_WORKERS).scalar_one())
            return _report(connection, clock.now(), sizes, workers)

        return await database.read(work)


def _report(
    connection: Connection, now: datetime, sizes: Mapping[str, DatabaseSize], workers: int | None
) -> StorageReport:
    count = select(func.count()).select_from(runs)
    return StorageReport(
        queue_figures(connection, now),
        connection.execute(count).scalar_one(),
        connection.execute(count.where(runs.c.created_at > now - _DAY)).scalar_one(),
        sizes,
        workers,
    )


def _size(file: Path) -> DatabaseSize:
    connection = _read_only(file)
    try:
        page, pages, free = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
    finally:
        connection.close()
    return DatabaseSize(page * pages, page * free)


def _read_only(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=5)
