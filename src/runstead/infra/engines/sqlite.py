"""SQLite: open, check, close. One writer with group commit, and a few concurrent readers (WAL).

Work is a plain function over a SQLAlchemy connection, so that the same function can run on another engine that offers
the same `read` and `write`. Transactions belong to the engine: work neither begins nor commits.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from sqlalchemy import Connection, Dialect, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from runstead.private_files import create_private, make_directory
from runstead.resources.storage_errors import (
    StorageBusy,
    StorageClosed,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageReadOnly,
    StorageUnusable,
)

from .figures import PoolFigures
from .group_commit import GroupWriter
from .slow_queries import TOO_MANY_SEARCHES, SlowQueryPool, TooManySlowQueries
from .sqlite_time_limit import SLOWEST, within
from .work_item import WorkDone, WorkItem, notify, resolve_all

T = TypeVar("T")
Synchronous: TypeAlias = Literal["FULL", "NORMAL"]

OLDEST_SQLITE = (3, 35, 0)
"""The first version with RETURNING."""
BUSY_TIMEOUT = 5.0
READERS = 3


class SqliteDatabase:
    """An open database file. May be used from any event loop of the process; see `open_sqlite`."""

    def __init__(self, path: Path, engine: Engine, *, home: int, syncs: bool) -> None:
        self.path = path
        self._engine = engine
        self._home = home
        self._readers: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix=f"read-{path.stem}")
        self._slow = SlowQueryPool(self._pool, 1)
        self._closed = False
        writer = engine.connect()
        try:
            # For quick reads on the loop that the database was opened on; no other thread uses it.
            self._near = _reader(engine)
            for _ in range(READERS):
                self._readers.put(_reader(engine))
        except BaseException:
            writer.close()
            raise
        self.fault: StorageError | None = None
        """The reason why the latest write failed, if it was a fault of the storage as a whole."""
        self._writer = GroupWriter(writer, name=f"write-{path.stem}", translate=self._translate, syncs=syncs)

    @property
    def dialect(self) -> Dialect:
        """The dialect that its statements are compiled for."""
        return self._engine.dialect

    async def read(
        self, work: Callable[[Connection], T], *, quick: bool = False, slow: bool = False, single: bool = False
    ) -> T:
        """Return the result of ``work``, which sees one snapshot. Never waits for the writer.

        ``quick`` work finds a few rows by their keys, in one statement. It is done at once, in the calling thread: two
        switches between threads would cost ten times as much as it does. On a loop with no other work, any work is
        quick. ``slow`` work is done one at a time, and interrupted after SLOWEST seconds.
        """
        if quick:
            return self._read_here(work)
        if slow:
            return await self._read_slowly(work)
        try:
            reading = asyncio.get_running_loop().run_in_executor(self._pool, self._read, work)
        except RuntimeError as error:
            if self._closed:
                raise StorageClosed(self.path) from error
            raise
        return await reading

    async def _read_slowly(self, work: Callable[[Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        job = WorkItem(within(SLOWEST, work), None, False, loop.create_future(), loop)
        try:
            self._slow.submit(self._serve_slowly, job)
        except TooManySlowQueries as error:
            raise StorageBusy(self.path, TOO_MANY_SEARCHES) from error
        except RuntimeError as error:
            raise StorageClosed(self.path) from error
        result: T = await job.future
        return result

    def _serve_slowly(self, job: WorkItem) -> None:
        if job.future.done():
            # Its caller was cancelled.
            return
        try:
            job.result = self._read(job.work)
        except BaseException as error:
            job.failure = error
        resolve_all([job])

    async def write(
        self,
        work: Callable[[Connection], T],
        *,
        committed: Callable[[T], None] | None = None,
        durable: bool = True,
        quick: bool = False,
        single: bool = False,
    ) -> T:
        """Return the result of ``work`` once it is on disk.

        An exception rolls back this work alone and is raised here.

        ``work`` may be repeated if the engine refused the transaction that it shared, so it must have no effects
        outside the connection. ``committed`` is called with the result on the caller's event loop, even if the caller
        was cancelled meanwhile: use it to notify others of the commit. Without ``durable`` the write is committed and
        visible to all, but a power cut (not a killed process) may lose it, until the next durable write: for data that
        is worth nothing without a later write. ``quick`` work that is not durable writes a few small rows: it is done
        at once, in the calling thread, if no other write is queued.
        """
        if quick and not durable and (done := self._writer.try_now(work)) is not None:
            return self._outcome(done, committed)
        writing = self._writer.submit(work, committed, durable=durable)
        if writing is None:
            raise StorageClosed(self.path)
        try:
            result: T = await writing
        except StorageError as error:
            self.fault = error
            raise
        self.fault = None
        return result

    def pool_figures(self) -> PoolFigures:
        """Return the readers and the one writer, and the work that waits for either."""
        idle = self._readers.qsize()
        waiting = self._pool._work_queue.qsize() + self._writer.waiting
        return PoolFigures(READERS + 1, READERS - idle + self._writer.is_busy, idle, waiting)

    def _outcome(self, done: WorkDone, committed: Callable[[T], None] | None) -> T:
        if done.failure is not None:
            if isinstance(done.failure, StorageError):
                self.fault = done.failure
            raise done.failure
        self.fault = None
        result: T = done.result
        if committed is not None:
            notify(committed, result)
        return result

    async def check(self) -> list[str]:
        """Read the whole file and return the problems found; an empty list if it is intact."""
        lines = await self.read(lambda connection: connection.exec_driver_sql("PRAGMA quick_check").scalars().all())
        return [line for line in lines if line != "ok"]

    def close(self) -> None:
        """Finish queued work, then close. Blocks; safe to call twice."""
        self._closed = True
        self._writer.close()
        self._pool.shutdown(wait=True)
        self._near.close()
        with suppress(queue.Empty):
            while True:
                self._readers.get_nowait().close()
        self._engine.dispose()

    def _read_here(self, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise StorageClosed(self.path)
        if threading.get_ident() != self._home:
            # An agent's loop: it has no other work, so it may wait for a connection.
            return self._read(work)
        try:
            # One statement is a snapshot by itself.
            return work(self._near)
        except BaseException as error:
            translated = self._translate(error)
            if translated is error:
                raise
            raise translated from error

    def _read(self, work: Callable[[Connection], T]) -> T:
        connection = self._readers.get()
        driver: Any = connection.connection.dbapi_connection
        try:
            driver.execute("BEGIN")
            return work(connection)
        except BaseException as error:
            translated = self._translate(error)
            if translated is error:
                raise
            raise translated from error
        finally:
            with suppress(sqlite3.Error):
                if driver.in_transaction:
                    driver.execute("ROLLBACK")
            self._readers.put(connection)

    def _translate(self, error: BaseException) -> BaseException:
        return translate(error, self.path)


@asynccontextmanager
async def open_sqlite(
    path: Path,
    *,
    synchronous: Synchronous = "FULL",
    prepare: Callable[[sqlite3.Connection], None] | None = None,
) -> AsyncIterator[SqliteDatabase]:
    """Open ``path``, created if missing; close it after all queued work is written.

    ``FULL`` survives a power cut, ``NORMAL`` a killed process. ``prepare`` is called with every new connection, to add
    our SQL functions. Raises StorageError with the remedy.
    """
    database = await asyncio.to_thread(_open, path, synchronous, prepare, threading.get_ident())
    try:
        yield database
    finally:
        await asyncio.shield(asyncio.to_thread(database.close))


def _reader(engine: Engine) -> Connection:
    reader = engine.connect()
    reader.exec_driver_sql("PRAGMA query_only = ON")
    return reader


def _open(
    path: Path, synchronous: Synchronous, prepare: Callable[[sqlite3.Connection], None] | None, home: int
) -> SqliteDatabase:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise StorageUnusable(
            f"SQLite {oldest} is needed and this Python has {sqlite3.sqlite_version}; use a later Python"
        )

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            _set_up(connection, path, synchronous)
            if prepare is not None:
                prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    # The driver's own transactions are off (isolation_level None): it would begin late, and not for reads.
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        make_directory(path.parent)
        create_private(path)
        return SqliteDatabase(path, engine, home=home, syncs=synchronous == "FULL")
    except PermissionError as error:
        raise StorageReadOnly(path) from error
    except OSError as error:
        raise StorageUnusable(f"cannot make a place for {path}: {error}") from error
    except (sqlite3.Error, DBAPIError) as error:
        raise translate(error, path) from error


def _set_up(connection: sqlite3.Connection, path: Path, synchronous: Synchronous) -> None:
    # Only a new file takes this: its free pages can be given back.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StorageUnusable(f"{path} cannot use write-ahead logging (it is {mode}); use a --data-dir on a local disk")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    # After a burst of writes the log shrinks again, instead of keeping its largest size forever.
    connection.execute("PRAGMA journal_size_limit = 67108864")


def translate(error: BaseException, path: Path) -> BaseException:
    """Return one of our errors for an error of the whole database; return any other error unchanged."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(origin, sqlite3.Error) or isinstance(origin, sqlite3.IntegrityError | sqlite3.ProgrammingError):
        return error
    name = getattr(origin, "sqlite_errorname", "") or ""
    found: StorageError
    if name.startswith("SQLITE_FULL"):
        found = StorageFull(path)
    elif name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_CANTOPEN")):
        found = StorageReadOnly(path)
    elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        found = StorageCorrupt(path, str(origin))
    elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        found = StorageBusy(path)
    elif name.startswith("SQLITE_INTERRUPT"):
        found = StorageBusy(
            path, f"took longer than {SLOWEST:.0f} s over a search; narrow it by ids, status or metadata"
        )
    elif name.startswith("SQLITE_IOERR"):
        found = StorageUnusable(f"{path} cannot be read or written ({origin}); check the disk")
    else:
        return error
    found.__cause__ = error
    return found
