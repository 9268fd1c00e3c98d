"""The port to a database engine, and the hook by which a transaction enqueues runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection

from runstead.runtime.runs.types import ThreadId
from runstead.runtime.storage_fault import StorageFault

T = TypeVar("T")


class Database(Protocol):
    """Runs plain functions over a connection, each in a transaction of its own."""

    async def read(
        self, work: Callable[[Connection], T], *, quick: bool = False, slow: bool = False, single: bool = False
    ) -> T:
        """Return the result of ``work``, which sees one snapshot.

        ``quick`` is a hint: the work finds a few rows by their keys in one statement, so it may run in the calling
        thread. ``slow`` is another hint: the work may scan many rows. Only a few such reads run at a time, so others
        find a thread. ``single`` is a hint too: the work is one statement, which is a snapshot by itself.
        """
        ...

    async def write(
        self,
        work: Callable[[Connection], T],
        *,
        committed: Callable[[T], None] | None = None,
        durable: bool = True,
        quick: bool = False,
        single: bool = False,
    ) -> T:
        """Return the result of ``work`` once it is durable; an exception of ``work`` rolls it back.

        Without ``durable`` it need not be on disk when this returns; the next durable write brings it there. It
        survives the death of the process in any case. ``work`` may run more than once, each time after the previous
        transaction was rolled back. ``committed`` is called with the result on the caller's event loop after the
        commit, even if the caller was cancelled. ``quick`` is a hint for work that need not be durable: it writes a few
        small rows, so it may run in the calling thread. ``single`` is a hint for work that is one statement, and raises
        only if that changed nothing: it may run without a transaction around it.
        """
        ...


class ObservedDatabase(Database, Protocol):
    """A database that reports whether it can be written to."""

    @property
    def fault(self) -> StorageFault | None:
        """Return why the latest write failed, if it was a fault of the storage as a whole; None otherwise."""
        ...


EnqueueHook: TypeAlias = Callable[[Connection, ThreadId], None]
"""Called with the open transaction, which holds the thread's lock, after all its writes to the thread's runs."""


def no_enqueue(connection: Connection, thread_id: ThreadId) -> None:
    """Write nothing: workers poll the rows."""
