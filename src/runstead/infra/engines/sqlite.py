"""SQLite: open, check, close. One writer with group commit, a few readers beside it (WAL).

Work is a plain function over a SQLAlchemy connection, so that the same function can run on another engine that
offers the same `read` and `write`. Transactions belong to the engine: work neither begins nor commits.
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

from .exceptions import (
    StorageBusy,
    StorageClosed,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageReadOnly,
    StorageUnusable,
)
from .jobs import Job, tell
from .private_files import create_private, make_directory
from .slow_lane import TOO_MANY_SEARCHES, LaneFull, SlowLane
from .sqlite_time_limit import SLOWEST, within
from .writer import GroupWriter

T = TypeVar("T")
Synchronous: TypeAlias = Literal["FULL", "NORMAL"]

OLDEST_SQLITE = (3, 35, 0)
"""The first with RETURNING."""
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
        self._slow = SlowLane(self._pool, 1)
        self._closed = False
        writer = engine.connect()
        try:
            # For quick reads on the loop the database was opened on; no other thread touches it.
            self._near = _reader(engine)
            for _ in range(READERS):
                self._readers.put(_reader(engine))
        except BaseException:
            writer.close()
            raise
        self.fault: StorageError | None = None
        """Why the latest write failed, where the storage as a whole was the trouble."""
        self._writer = GroupWriter(writer, name=f"write-{path.stem}", translate=self._translate, syncs=syncs)

    @property
    def dialect(self) -> Dialect:
        """What its statements are compiled for."""
        return self._engine.dialect

    async def read(self, work: Callable[[Connection], T], *, quick: bool = False, slow: bool = False) -> T:
        """What ``work`` returns, seen in one snapshot. Never waits for the writer.

        ``quick`` work finds a few rows by their keys, in one statement. It is done at once, in the calling thread:
        two hops between threads would cost ten times as much as it does. On a loop with nobody else to serve, any
        work is quick. ``slow`` work is done one at a time, and given up after SLOWEST seconds.
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
        job = Job(within(SLOWEST, work), None, False, loop.create_future(), loop)
        try:
            self._slow.submit(self._serve_slowly, job)
        except LaneFull as error:
            raise StorageBusy(self.path, TOO_MANY_SEARCHES) from error
        except RuntimeError as error:
            raise StorageClosed(self.path) from error
        result: T = await job.future
        return result

    def _serve_slowly(self, job: Job) -> None:
        if job.future.done():
            # Its caller has gone.
            return
        try:
            job.result = self._read(job.work)
        except BaseException as error:
            job.failure = error
        tell([job])

    async def write(
        self,
        work: Callable[[Connection], T],
        *,
        committed: Callable[[T], None] | None = None,
        durable: bool = True,
    ) -> T:
        """What ``work`` returns, after it is on disk. Its exception undoes it alone, and is raised here.

        Work may be run again when the engine refused the transaction it shared, so it has no effect beyond the
        connection. ``committed`` is called with the result on the caller's event loop, even when
        the caller was cancelled meanwhile: what others must be told of a commit goes there.

        Without ``durable`` it is committed and seen by all, but a power cut (not a killed process) may take it back,
        until the next durable write: for what is worth nothing without a later one.
        """
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

    async def check(self) -> list[str]:
        """Read the whole file; what is wrong with it, nothing when it is sound."""
        lines = await self.read(lambda connection: connection.exec_driver_sql("PRAGMA quick_check").scalars().all())
        return [line for line in lines if line != "ok"]

    def close(self) -> None:
        """Do what is queued, then close. Blocks; safe to call twice."""
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
            # An agent's loop: nobody else is on it, so it may as well wait for a connection.
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
    """Open ``path``, made when absent, and close it after all that was queued is written.

    ``FULL`` survives a power cut, ``NORMAL`` a killed process. ``prepare`` sees every connection first (functions of
    ours). Raises StorageError, saying what to do.
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
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StorageUnusable(f"{path} cannot use write-ahead logging (it is {mode}); use a --data-dir on a local disk")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    # After a burst the log shrinks again, instead of keeping its largest size for ever.
    connection.execute("PRAGMA journal_size_limit = 67108864")


def translate(error: BaseException, path: Path) -> BaseException:
    """An error of the whole store as one of ours; anything else unchanged."""
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
