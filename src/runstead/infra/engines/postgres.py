"""PostgreSQL: open, check, close. Work runs in threads with a pooled connection each, so the event loop stays free.

Work is a plain function over a SQLAlchemy connection, the same as for SQLite. Transactions belong to the engine: work
neither begins nor commits. A transaction that collided with another one, or lost its connection before the commit, is
repeated from the beginning. A connection is in use only for that time, never while a caller waits for something else.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Dialect, Engine
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from runstead.resources.storage_errors import StorageBusy, StorageClosed, StorageError, StorageUnavailable
from runstead.runtime.actor_context import namespace_label, tenant_limit
from runstead.runtime.backoff import Backoff

from .figures import PoolFigures
from .liveness import CHECKS, LivenessCheck
from .postgres_errors import is_collision, is_read_only, of_driver, translate, was_cut_off_before
from .postgres_pool import (
    PostgresOptions,
    check_server,
    cut,
    discard_all,
    driver_of,
    is_gone,
    is_stale,
    open_pool,
    place_of,
    probe_of,
)
from .slow_queries import TOO_MANY_SEARCHES, SlowQueryPool, TooManySlowQueries
from .tenant_variables import TENANT_LABEL_VARIABLE, TENANT_VARIABLE
from .work_item import WorkItem, resolve_all

T = TypeVar("T")
_log = logging.getLogger(__name__)

_ALONE: Final = ""
"""Write without a transaction around it: one statement is a transaction by itself."""
_WRITE: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
# The commit returns before it is on disk; the next commit that waits for the disk also brings this one there.
_WRITE_SOON: Final = f"{_WRITE}; SET LOCAL synchronous_commit TO off"
_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_PAUSES: Final = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between attempts; the last value repeats until the patience is used up."""


class _Undone(Exception):
    """The transaction had no effect and may be repeated; its cause is the reason."""


class PostgresDatabase:
    """An open database. May be used from any event loop of the process; see `open_postgres`."""

    def __init__(self, engine: Engine, place: str, options: PostgresOptions, probe: Callable[[], bool]) -> None:
        self.place, self.options = place, options
        self._engine = engine
        self._writers = ThreadPoolExecutor(options.writers, thread_name_prefix="postgres-write")
        self._readers = ThreadPoolExecutor(options.readers, thread_name_prefix="postgres-read")
        self._slow = SlowQueryPool(self._readers, max(1, options.readers // 2))
        self._closing = threading.Event()
        self.fault: StorageError | None = None
        """The reason why the latest write failed, if it was a fault of the storage as a whole."""
        # The reason why the server could not be reached at the last attempt; None if it could.
        self._away: str | None = None
        self._watch = LivenessCheck(options.patience, probe)
        self._in_use: set[psycopg.Connection[object]] = set()

    @property
    def dialect(self) -> Dialect:
        """The dialect that its statements are compiled for."""
        return self._engine.dialect

    async def read(
        self, work: Callable[[Connection], T], *, quick: bool = False, slow: bool = False, single: bool = False
    ) -> T:
        """Return the result of ``work``, which sees one snapshot.

        ``quick`` and ``single`` work is one statement, and so needs no transaction; it still runs in a thread, since a
        network is too slow for the event loop. ``slow`` work may use at most half of the threads for reads. Raises
        StorageBusy if no connection becomes free within the patience, and StorageUnavailable if the server does not
        answer for that time.
        """
        begin = None if quick or single else _READ
        lane = self._slow if slow else self._readers
        job = self._item(work, None, durable=False)
        result: T = await self._submit(lane, job, _READ if job.tenant_id is not None else begin)
        return result

    async def write(
        self,
        work: Callable[[Connection], T],
        *,
        committed: Callable[[T], None] | None = None,
        durable: bool = True,
        quick: bool = False,
        single: bool = False,
    ) -> T:
        """Return the result of ``work`` after its commit. An exception of ``work`` rolls it back and is raised here.

        ``work`` may be repeated after a collision or a lost connection, so it must have no effects outside the
        transaction. ``committed`` is called with the result on the caller's event loop, even if the caller was
        cancelled meanwhile. Without ``durable``, a crash of the database server (not of this process) may lose the
        write, until the next durable one. ``single`` work is one statement, and raises only if that changed nothing:
        it needs no transaction. A statement that need not be durable says so itself. After StorageUnavailable from a
        write, it is unknown whether the write was committed. Other errors: see `read`.
        """
        job = self._item(work, committed, durable=durable)
        begin = _ALONE if single else _WRITE if durable else _WRITE_SOON
        try:
            result: T = await self._submit(self._writers, job, begin)
        except StorageError as error:
            self.fault = error
            raise
        self.fault = None
        return result

    def pool_figures(self) -> PoolFigures:
        """Return the connections of the pool, and the work that waits for one."""
        in_use = len(self._in_use)
        waiting = self._writers._work_queue.qsize() + self._readers._work_queue.qsize()
        pool = self._engine.pool
        idle = pool.checkedin() if isinstance(pool, QueuePool) else 0
        return PoolFigures(self.options.readers + self.options.writers, in_use, idle, waiting)

    def close(self) -> None:
        """Finish queued work, then close.

        Blocks; safe to call twice. Does not wait for a server that does not answer.
        """
        self._closing.set()
        closed = threading.Event()
        threading.Thread(target=self._leave_when_silent, args=(closed,), name="postgres-close", daemon=True).start()
        self._writers.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        closed.set()
        self._engine.dispose()

    def _leave_when_silent(self, closed: threading.Event) -> None:
        """Cut connections to a silent server, since threads wait on them until it answers."""
        while not closed.wait(self.options.patience / CHECKS):
            if self._watch.check():
                for driver in list(self._in_use):
                    cut(driver)

    def check(self) -> None:
        """Connect once and check the server. Blocks. Raises StorageError."""
        self._done(lambda connection: check_server(driver_of(connection), self.place), None)

    def _item(
        self, work: Callable[[Connection], Any], committed: Callable[[Any], None] | None, *, durable: bool
    ) -> WorkItem:
        tenant = tenant_limit() if self.options.row_security else None
        return WorkItem(work, committed, durable, *_caller(), tenant)

    def _submit(
        self, lane: ThreadPoolExecutor | SlowQueryPool, job: WorkItem, begin: str | None
    ) -> asyncio.Future[Any]:
        asked = time.monotonic()
        try:
            lane.submit(self._serve, job, begin, asked)
        except TooManySlowQueries as error:
            raise StorageBusy(self.place, TOO_MANY_SEARCHES) from error
        except RuntimeError as error:
            raise StorageClosed(self.place) from error
        self._look_later(job, asked)
        return job.future

    def _look_later(self, job: WorkItem, asked: float) -> None:
        looking = job.loop.call_later(self.options.patience / CHECKS, self._look, job, asked)
        job.future.add_done_callback(lambda _: looking.cancel())

    def _look(self, job: WorkItem, asked: float) -> None:
        """Fail work that has waited too long: for a free thread, or for a server that does not answer."""
        if job.future.done():
            return
        is_silent = self._watch.check()
        if time.monotonic() - asked >= self.options.patience * 0.99 and (is_silent or not job.has_begun):
            job.future.set_exception(self._why_it_waited())
        else:
            self._look_later(job, asked)

    def _serve(self, job: WorkItem, begin: str | None, asked: float) -> None:
        # Work whose caller was cancelled before it began is skipped: its result would have no owner.
        if job.future.done():
            return
        job.has_begun = True
        try:
            if time.monotonic() - asked > self.options.patience:
                # Earlier work waited for the server, or there was too much of it.
                raise self._why_it_waited()
            job.result = self._done(job.work, _for_tenant(begin, job.tenant_id))
        except BaseException as error:
            job.failure = error
        if not isinstance(job.failure, StorageUnavailable):
            self._watch.heard()
        resolve_all([job])

    def _why_it_waited(self) -> StorageUnavailable | StorageBusy:
        if self._away is not None:
            return StorageUnavailable(self.place, self._away)
        if (silence := self._watch.silence) >= self.options.patience / 2:
            return StorageUnavailable(self.place, f"no answer for {silence:.0f} s")
        return StorageBusy(self.place, _no_connection(self.options))

    def _done(self, work: Callable[[Connection], T], begin: str | None) -> T:
        """Return the result of ``work``, repeated while that makes sense."""
        until = time.monotonic() + self.options.patience
        backoff = Backoff(_PAUSES)
        while True:
            try:
                result = self._tried(work, begin)
                self._away = None
                return result
            except _Undone as undone:
                reason = undone.__cause__ or undone
                if isinstance(trouble := translate(reason, self.place), StorageUnavailable):
                    self._away = trouble.details
                # With jitter, so as not to collide again.
                pause = next(backoff) * random.uniform(0.5, 1)
                if time.monotonic() + pause > until or self._closing.wait(pause):
                    raise translate(reason, self.place) from reason
                if backoff.failures > 1:
                    _log.warning("trying again: %s", " ".join(str(reason).split()))
            except BaseException as error:
                translated = translate(error, self.place)
                if translated is error:
                    raise
                raise translated from error

    def _tried(self, work: Callable[[Connection], T], begin: str | None) -> T:
        try:
            connection = self._engine.connect()
        except PoolTimeout as error:
            raise StorageBusy(self.place, _no_connection(self.options)) from error
        except Exception as error:
            if _may_pass(translate(error, self.place)):
                raise _Undone from error
            raise
        with connection:
            return self._transacted(connection, work, begin)

    def _transacted(self, connection: Connection, work: Callable[[Connection], T], begin: str | None) -> T:
        driver = driver_of(connection)
        if begin == _ALONE and is_stale(driver.pgconn):
            # Before the statement: afterwards it would be unknown whether it was committed.
            lost = psycopg.OperationalError("the server has ended the connection")
            discard_all(connection, lost)
            raise _Undone from lost
        self._in_use.add(driver)
        try:
            return self._committed(connection, driver, work, begin)
        finally:
            self._in_use.discard(driver)

    def _committed(
        self,
        connection: Connection,
        driver: psycopg.Connection[Any],
        work: Callable[[Connection], T],
        begin: str | None,
    ) -> T:
        try:
            if begin:
                driver.execute(begin)
            result = work(connection)
        except BaseException as error:
            # A standby in place of the former primary: a new connection may reach the new primary.
            is_write = begin == _ALONE or (begin is not None and begin.startswith(_WRITE))
            is_lost = is_gone(driver)
            useless = is_lost or (is_write and is_read_only(error))
            if useless:
                discard_all(connection, error)
            else:
                self._roll_back(connection, driver)
            if begin == _ALONE and is_lost and of_driver(error) is not None:
                raise self._lost_in_commit(error) from error
            if of_driver(error) is not None and (useless or is_collision(error)):
                raise _Undone from error
            raise
        if begin:
            self._commit(connection, driver)
        return result

    def _commit(self, connection: Connection, driver: psycopg.Connection[Any]) -> None:
        try:
            ended = driver.execute("COMMIT").statusmessage
        except BaseException as error:
            if not is_gone(driver):
                self._roll_back(connection, driver)
                if is_collision(error):
                    raise _Undone from error
                raise
            discard_all(connection, error)
            raise self._lost_in_commit(error) from error
        if ended != "COMMIT":
            raise RuntimeError(
                "work on the database continued after a failed statement; the transaction was rolled back"
            )

    def _lost_in_commit(self, error: BaseException) -> Exception:
        if was_cut_off_before(error):
            return _Undone()
        # Not repeated: the commit may have succeeded.
        return StorageUnavailable(self.place, f"the connection was lost during a commit: {error}")

    def _roll_back(self, connection: Connection, driver: psycopg.Connection[Any]) -> None:
        try:
            if driver.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
                driver.execute("ROLLBACK")
        except Exception as error:
            connection.invalidate(error)


@asynccontextmanager
async def open_postgres(url: str, options: PostgresOptions | None = None) -> AsyncIterator[PostgresDatabase]:
    """Open the database of a libpq URL; close it after all queued work is done.

    Raises StorageError with the remedy.
    """
    options = options or PostgresOptions()
    database = PostgresDatabase(open_pool(url, options), place_of(url), options, probe_of(url))
    try:
        await asyncio.to_thread(database.check)
        yield database
    finally:
        await asyncio.shield(asyncio.to_thread(database.close))


def _for_tenant(begin: str | None, tenant_id: str | None) -> str | None:
    """Return the beginning of a transaction that names its tenant; in the same message, so that it costs no time."""
    if begin is None or tenant_id is None:
        return begin
    named = {TENANT_VARIABLE: tenant_id, TENANT_LABEL_VARIABLE: namespace_label(tenant_id)}
    settings = [f"SET LOCAL {name} = {sql.Literal(value).as_string(None)}" for name, value in named.items()]
    return "; ".join((begin or _WRITE, *settings))


def _caller() -> tuple[asyncio.Future[Any], asyncio.AbstractEventLoop]:
    loop = asyncio.get_running_loop()
    return loop.create_future(), loop


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, StorageUnavailable | StorageBusy)


def _no_connection(options: PostgresOptions) -> str:
    return (
        f"is asked for more than {options.pool_size} connections can bring; look whether it answers as quickly as "
        "usual; if it does, raise RUNSTEAD_DATABASE_POOL_SIZE, or start more servers"
    )
