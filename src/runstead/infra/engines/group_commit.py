"""A single writer thread that commits many units of work at once (group commit).

A durable commit costs one sync of the disk, regardless of the number of callers. So the thread takes all queued work,
runs it in one transaction, with a savepoint for each unit, commits once, and then resolves all futures. No caller that
asked for durability gets its result before the commit is on disk.

Two switches between threads cost more than a small transaction that does not wait for the disk. While the thread has
nothing to do, such work may run in the thread of its caller instead: see `try_now`.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection

from .work_item import WorkDone, WorkItem, resolve_all

_log = logging.getLogger(__name__)

_PATIENCE: Final = ("busy_timeout", "wal_autocheckpoint")
"""Options of a connection that let a transaction wait, for another process and for the disk. 0 switches each off."""
MAX_BATCH = 512
"""Units of work per commit: enough to amortise the sync, few enough to keep the first caller's wait short."""


class _TransactionLost(Exception):
    """The engine itself rolled back the whole transaction (disk full, I/O error); the cause is the reason."""


class GroupWriter:
    """Runs work in a thread of its own on ``connection``, which it owns from now on.

    ``translate`` converts the engine's errors to those of `exceptions`. With ``syncs``, a commit is on disk when it
    returns, unless none of its units of work needs that.
    """

    def __init__(
        self, connection: Connection, *, name: str, translate: Callable[[BaseException], BaseException], syncs: bool
    ) -> None:
        self._connection = connection
        driver: Any = connection.connection.dbapi_connection
        self._driver = driver
        self._translate = translate
        self._syncs = self._syncing = syncs
        self._is_patient = True
        self._patience = {name: driver.execute(f"PRAGMA {name}").fetchone()[0] for name in _PATIENCE}
        self._jobs: queue.SimpleQueue[WorkItem | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._unfinished = 0
        """Units of work that are queued or running."""
        self._is_shared = False
        """True if the latest commit of the thread was for several units: together they cost less than each alone."""
        self._turn = threading.Lock()
        """Held while a transaction is open."""
        # A daemon thread: a process that forgot to close must still be able to exit. Acknowledged writes are on disk.
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(
        self, work: Callable[[Connection], Any], committed: Callable[[Any], None] | None, *, durable: bool = True
    ) -> asyncio.Future[Any] | None:
        """Queue work; return a future that is resolved after the commit. Return None if the writer is closed."""
        loop = asyncio.get_running_loop()
        job = WorkItem(work, committed, durable, loop.create_future(), loop)
        with self._gate:
            if self._closed:
                return None
            self._unfinished += 1
            self._jobs.put(job)
        return job.future

    @property
    def waiting(self) -> int:
        """The units of work that wait for the next commit."""
        return self._jobs.qsize()

    @property
    def is_busy(self) -> bool:
        """True during a commit."""
        return bool(self._driver.in_transaction)

    def try_now(self, work: Callable[[Connection], Any]) -> WorkDone | None:
        """Run ``work`` in the calling thread, in a transaction of its own that need not be on disk at its end.

        Return None, with nothing done, if that would not be quick: other work is queued or running, or came together in
        the latest commit of the thread; another process has the file; or the writer is closed. Work is never done
        before work that was submitted earlier. Moving the log to the file is left to the thread, since that waits for
        the disk.
        """
        with self._gate:
            if self._closed or self._unfinished or self._is_shared:
                return None
            # The thread opens a transaction only while it has unfinished work, so this does not wait.
            self._turn.acquire()
            self._unfinished += 1
        try:
            return self._commit_now(work)
        finally:
            self._turn.release()
            self._finish(1)

    def _commit_now(self, work: Callable[[Connection], Any]) -> WorkDone | None:
        began = False
        try:
            self._wait_for_disk(False)
            self._be_patient(False)
            self._driver.execute("BEGIN IMMEDIATE")
            began = True
            done = WorkDone(work(self._connection))
            self._driver.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if not began and isinstance(error, sqlite3.OperationalError):
                # The thread tries it with more patience.
                return None
            if not isinstance(error, Exception):
                raise
            return WorkDone(failure=self._translate(error))
        return done

    def _finish(self, count: int) -> None:
        with self._gate:
            self._unfinished -= count

    def close(self) -> None:
        """Finish queued work, then end the thread and close its connection. Blocks; safe to call twice."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _serve(self) -> None:
        last = False
        while not last:
            taken, last = self._take()
            # Work whose caller was cancelled before it began is skipped: its result would have no owner.
            jobs = [job for job in taken if not job.future.cancelled()]
            with self._turn:
                if jobs:
                    self._is_shared = len(jobs) > 1
                    self._commit(jobs)
            self._finish(len(taken))
            # Only now: the callers may at once have other work that can be done without this thread.
            resolve_all(jobs)
        with self._turn:
            self._connection.close()

    def _take(self) -> tuple[list[WorkItem], bool]:
        """Return all queued work, at least one unit, and whether it was the last."""
        jobs: list[WorkItem] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == MAX_BATCH:
                return jobs, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _commit(self, jobs: Sequence[WorkItem]) -> None:
        began = False
        try:
            self._wait_for_disk(any(job.durable for job in jobs))
            self._be_patient(True)
            self._driver.execute("BEGIN IMMEDIATE")
            began = True
            if len(jobs) == 1:
                # A single unit needs no savepoint: its exception rolls back the transaction.
                jobs[0].result = jobs[0].work(self._connection)
            else:
                for job in jobs:
                    self._run(job)
            self._driver.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if began and len(jobs) > 1:
                # One unit can spoil the transaction for all (a row too large for the disk): run each on its own.
                for job in jobs:
                    job.result = job.failure = None
                    self._commit([job])
                return
            reason = error.__cause__ if isinstance(error, _TransactionLost) and error.__cause__ else error
            for job in jobs:
                job.failure = self._translate(reason)

    def _be_patient(self, is_patient: bool) -> None:
        """Set whether the next transaction may wait for another process, and for moving the log to the file."""
        if is_patient is not self._is_patient:
            for name, value in self._patience.items():
                self._driver.execute(f"PRAGMA {name} = {value if is_patient else 0}")
            self._is_patient = is_patient

    def _wait_for_disk(self, durable: bool) -> None:
        """Set whether the next commit waits for the disk.

        A later commit that waits also brings earlier ones to disk.
        """
        wanted = self._syncs and durable
        if wanted is not self._syncing:
            self._driver.execute(f"PRAGMA synchronous = {'FULL' if wanted else 'NORMAL'}")
            self._syncing = wanted

    def _run(self, job: WorkItem) -> None:
        self._driver.execute("SAVEPOINT work")
        try:
            job.result = job.work(self._connection)
        except BaseException as error:
            if not self._driver.in_transaction:
                raise _TransactionLost from error
            self._driver.execute("ROLLBACK TO work")
            job.failure = self._translate(error)
        self._driver.execute("RELEASE work")

    def _roll_back(self) -> None:
        try:
            if self._driver.in_transaction:
                self._driver.execute("ROLLBACK")
        except Exception:
            _log.exception("a rollback failed")
