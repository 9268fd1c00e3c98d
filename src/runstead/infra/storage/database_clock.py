"""A clock that follows the database's, for leases, delays and retention of machines that share a database.

A machine whose own clock is a minute wrong would otherwise treat other workers' leases as expired, or its own as
valid.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from sqlalchemy import Connection

from runstead.runtime.clock import SystemClock
from runstead.runtime.periodic import beside, repeat

from .database import Database

_log = logging.getLogger(__name__)

_EVERY: Final = 10.0
"""Seconds between two measurements. A quartz clock drifts by less than a millisecond in that time."""
_TRIES: Final = 3
_LONGEST: Final = 1.0
"""Seconds of round trip from which on a measurement is less exact than the previous one."""


def elapsed() -> float:
    """Return seconds that never step back and, if the system supports it, include the time of system sleep."""
    counts_sleep = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if counts_sleep is None else time.clock_gettime(counts_sleep)


class DatabaseClock(SystemClock):
    """A Clock whose `now` is the database's, to within half of a round trip. See `running`."""

    def __init__(self, database: Database, elapsed: Callable[[], float] = elapsed) -> None:
        self._database = database
        self._elapsed = elapsed
        self._is_set = False
        self._at_zero = datetime.now(UTC) - timedelta(seconds=elapsed())

    @classmethod
    @asynccontextmanager
    async def running(cls, database: Database) -> AsyncIterator[Self]:
        """Create a clock, and keep it adjusted for the length of a block. Raises StorageError."""
        clock = cls(database)
        await clock.measure()
        async with beside(clock._keep(), "database clock"):
            yield clock

    def now(self) -> datetime:
        return self._at_zero + timedelta(seconds=self._elapsed())

    async def measure(self) -> None:
        """Set the clock by the quickest of a few measurements, which is the most exact. Raises StorageError."""
        took, at_zero = min([await self._ask() for _ in range(_TRIES)])
        if took > _LONGEST and self._is_set:
            _log.warning("the database took %.1f s to return its time; keeping the previous measurement", took)
            return
        self._at_zero, self._is_set = at_zero, True

    async def _ask(self) -> tuple[float, datetime]:
        """Return the duration of the round trip, and the database's time when our clock was zero."""

        def ask(connection: Connection) -> tuple[float, datetime]:
            # Measured here, around the statement: waiting for a connection is not part of the round trip.
            asked = self._elapsed()
            database_time = _clock(connection)
            answered = self._elapsed()
            return answered - asked, database_time - timedelta(seconds=(asked + answered) / 2)

        return await self._database.read(ask, quick=True)

    async def _keep(self) -> None:
        def failed() -> None:
            _log.warning("the database's clock could not be read; using the last measurement", exc_info=True)

        await repeat(self.measure, _EVERY, self, failed=failed)


def _clock(connection: Connection) -> datetime:
    database_time: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return database_time.astimezone(UTC)
