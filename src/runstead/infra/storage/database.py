"""What the stores ask of an engine. `runstead.infra.engines.sqlite` is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from runstead.runtime.storage_fault import StorageFault

T = TypeVar("T")


class Database(Protocol):
    """Runs plain functions over a connection, each in a transaction of its own."""

    async def read(self, work: Callable[[Connection], T], *, quick: bool = False, slow: bool = False) -> T:
        """What ``work`` returns, seen in one snapshot.

        ``quick`` is a hint: it finds a few rows by their keys, in one statement, so that it may be done on the spot.
        ``slow`` is another: it may look at many rows. A few such reads are done at a time, and others beside them.
        """
        ...

    async def write(
        self,
        work: Callable[[Connection], T],
        *,
        committed: Callable[[T], None] | None = None,
        durable: bool = True,
    ) -> T:
        """What ``work`` returns, after it is durable; its exception undoes it.

        Without ``durable`` it need not be on disk yet when this returns: it is with the next write that is durable.
        A killed process loses nothing of it.

        ``work`` may be run more than once, each time after the former was undone. ``committed`` is called
        with the result on the caller's event loop once it is durable, also when the caller has gone.
        """
        ...


class ObservedDatabase(Database, Protocol):
    """A database that says whether it can be written to."""

    @property
    def fault(self) -> StorageFault | None:
        """Why the latest write failed, where the storage as a whole was the trouble; None when it did not."""
        ...
