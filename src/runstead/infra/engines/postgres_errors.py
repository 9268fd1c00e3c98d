"""Translate PostgreSQL errors that concern the whole server into our errors, with the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError

from runstead.resources.storage_errors import (
    StorageBusy,
    StorageCorrupt,
    StorageDemoted,
    StorageError,
    StorageFull,
    StorageUnavailable,
    StorageUnusable,
)

_NO_CONNECTIONS: Final = (
    "takes no more connections; lower RUNSTEAD_DATABASE_POOL_SIZE of the servers and workers, or raise its "
    "max_connections"
)
_LOCKED: Final = "kept this waiting for a lock for too long; look for what holds it in pg_stat_activity, then try again"
_SLOW: Final = (
    "took longer over a statement than RUNSTEAD_DATABASE_STATEMENT_TIMEOUT_SECONDS; see what keeps it busy, or raise it"
)
_REPLICA: Final = "it may be a standby; give the address of the primary, or add target_session_attrs=read-write"

# By SQLSTATE or a prefix of one; the longest prefix applies.
_TROUBLES: Final[dict[str, Callable[[str, str], StorageError]]] = {
    "08": StorageUnavailable,
    "25006": lambda place, _: StorageDemoted(place, _REPLICA),
    "25P03": StorageUnavailable,
    "28": lambda place, text: StorageUnusable(f"{place} refuses access ({text}); check user and password"),
    "3D000": lambda place, text: StorageUnusable(f"{place}: {text}; create it, or name another in the URL"),
    "40": lambda place, text: StorageBusy(
        place, f"conflicted with other transactions for too long ({text}); try again"
    ),
    "42501": lambda place, text: StorageUnusable(f"{place}: {text}; grant it to the user of the URL"),
    "42P01": lambda place, text: StorageUnusable(f"{place}: {text}; run `runstead migrate`"),
    "42703": lambda place, text: StorageUnusable(f"{place}: {text}; run `runstead migrate`"),
    "53": lambda place, text: StorageBusy(place, f"is overloaded ({text}); try again, or give it more resources"),
    "53100": lambda place, _: StorageFull(place),
    "53300": lambda place, _: StorageBusy(place, _NO_CONNECTIONS),
    "55P03": lambda place, _: StorageBusy(place, _LOCKED),
    "57014": lambda place, _: StorageBusy(place, _SLOW),
    "57P": StorageUnavailable,
    "58": lambda place, text: StorageUnusable(f"{place} cannot read or write its files ({text}); check its disk"),
    "XX001": StorageCorrupt,
    "XX002": StorageCorrupt,
}
_AGAIN: Final = ("40001", "40P01")
"""The transaction collided with another one; if repeated, it may succeed."""
_RACED: Final = "procrastinate_jobs_queueing_lock_idx"
"""Prefix of the index that allows one waiting job for each run. A job is created only if there is none, and another
transaction may have created one meanwhile, or have returned one to the queue."""


def of_driver(error: BaseException) -> psycopg.Error | None:
    """Return the driver's error behind ``error``; None if it is no driver error."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    return origin if isinstance(origin, psycopg.Error) else None


def is_collision(error: BaseException) -> bool:
    """Return whether repeating the same work may succeed."""
    origin = of_driver(error)
    if isinstance(origin, psycopg.errors.UniqueViolation):
        return (origin.diag.constraint_name or "").startswith(_RACED)
    return origin is not None and origin.sqlstate in _AGAIN


def is_read_only(error: BaseException) -> bool:
    """Return whether a write was refused because the server is read-only."""
    origin = of_driver(error)
    return origin is not None and origin.sqlstate == "25006"


def was_cut_off_before(error: BaseException) -> bool:
    """Return whether the server had ended the transaction before the statement that failed with ``error``."""
    origin = of_driver(error)
    return origin is not None and origin.sqlstate == "25P03"


def translate(error: BaseException, place: str) -> BaseException:
    """Return one of our errors for an error of the whole server; return any other error unchanged."""
    origin = of_driver(error)
    if origin is None:
        return error
    text = " ".join(str(origin).split())
    found: StorageError
    if origin.sqlstate is None:
        # The driver's own error: the server could not be reached, or the connection was lost.
        if not isinstance(origin, psycopg.OperationalError):
            return error
        found = _unreachable(place, text)
    else:
        trouble = _trouble(origin.sqlstate)
        if trouble is None:
            return error
        found = trouble(place, text)
    found.__cause__ = error
    return found


def _trouble(sqlstate: str) -> Callable[[str, str], StorageError] | None:
    for length in (5, 3, 2):
        if (trouble := _TROUBLES.get(sqlstate[:length])) is not None:
            return trouble
    return None


def _unreachable(place: str, text: str) -> StorageError:
    # During connecting, the driver passes the server's error on as text only.
    if "too many clients" in text or "remaining connection slots" in text or "too many connections" in text:
        return StorageBusy(place, _NO_CONNECTIONS)
    for words, state in (("password authentication", "28"), ("does not exist", "3D000"), ("pg_hba.conf", "28")):
        if words in text:
            return _TROUBLES[state](place, text)
    return StorageUnavailable(place, text)
