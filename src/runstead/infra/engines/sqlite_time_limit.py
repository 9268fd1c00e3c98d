"""A time limit for reads of SQLite, which has none of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")

SLOWEST: Final = 30.0
"""Seconds for a read that may scan many rows; PostgreSQL has its statement_timeout."""
_STEPS: Final = 10_000
"""Virtual machine instructions between two checks of the time."""


def within(seconds: float, work: Callable[[Connection], T]) -> Callable[[Connection], T]:
    """Return a version of ``work`` that SQLite interrupts after ``seconds``."""

    def limited(connection: Connection) -> T:
        driver: Any = connection.connection.dbapi_connection
        until = time.monotonic() + seconds
        driver.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        try:
            return work(connection)
        finally:
            driver.set_progress_handler(None, 0)

    return limited
