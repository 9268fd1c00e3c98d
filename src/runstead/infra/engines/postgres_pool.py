"""Connections to PostgreSQL: configured, checked once, and pooled."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import conninfo, sql
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from runstead.resources.storage_errors import StorageReadOnly, StorageUnavailable, StorageUnusable
from runstead.runtime.json_types import JsonObject

from .postgres_errors import translate

OLDEST_POSTGRES: Final = 14
_RECYCLE_SECONDS: Final = 1800
# A connection broken by a lost machine or a cut cable is detected within seconds instead of hours.
_ALIVE: Final = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "runstead",
}


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """Settings for the use of PostgreSQL by one process. All times in seconds.

    ``pool_size``: maximum number of connections (at least 2); a third of them, at least one, are for reads only, so
    that slow reads do not delay writes. ``schema``: the schema of our tables. ``statement_timeout`` and
    ``lock_timeout``: for one statement. ``idle_timeout``: for a transaction whose process sends nothing, because it is
    frozen or cut off; its locks are free after that. ``patience``: how long work waits for an unavailable server or
    for a free connection. ``row_security``: each transaction names the tenant of its actor, for row-level security.
    """

    pool_size: int = 12
    schema: str = "runstead"
    statement_timeout: float = 30
    lock_timeout: float = 10
    idle_timeout: float = 5
    patience: float = 10
    row_security: bool = False

    @property
    def readers(self) -> int:
        return max(1, self.pool_size // 3)

    @property
    def writers(self) -> int:
        return max(1, self.pool_size - self.readers)


def probe_of(url: str) -> Callable[[], bool]:
    """Return a function that connects once, blocks, and returns whether the server answered, even with a refusal."""
    parameters = {**_ALIVE, **_parts(url)}

    def probe() -> bool:
        try:
            psycopg.connect(autocommit=True, **parameters).close()
        except psycopg.Error as error:
            return not isinstance(translate(error, ""), StorageUnavailable)
        return True

    return probe


def driver_of(connection: Connection) -> psycopg.Connection[Any]:
    driver: Any = connection.connection.dbapi_connection
    found: psycopg.Connection[Any] = driver
    return found


def is_gone(driver: psycopg.Connection[Any]) -> bool:
    return driver.closed or driver.broken


def is_stale(pgconn: psycopg.pq.abc.PGconn) -> bool:
    """Return whether the server has ended an idle connection, as far as this machine knows. Costs no round trip.

    A server sends nothing to an idle connection but the reason of its end.
    """
    waiting = select.poll()
    waiting.register(pgconn.socket, select.POLLIN)
    return bool(waiting.poll(0))


def discard_all(connection: Connection, error: BaseException) -> None:
    """Close this connection and discard all pooled ones: the fault that broke one has broken all."""
    if not connection.invalidated:
        driver_of(connection).close()
        # SQLAlchemy detects the closed connection and discards all that are as old.
        with suppress(DBAPIError):
            connection.exec_driver_sql("SELECT 1")
    connection.invalidate(error)


def cut(driver: psycopg.Connection[Any]) -> None:
    """Shut down a connection that another thread waits on, so that its statement fails at once."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(driver.fileno())) as pipe:
        pipe.shutdown(socket.SHUT_RDWR)


def place_of(url: str) -> str:
    """Return the server and the database of a URL for display, without user and password."""
    parts = _parts(url)
    host, port = parts.get("host") or "localhost", parts.get("port") or "5432"
    return f"PostgreSQL database {parts.get('dbname') or parts.get('user') or 'postgres'} at {host}:{port}"


def open_pool(url: str, options: PostgresOptions) -> Engine:
    """Return an engine in autocommit mode: callers begin and end transactions themselves."""
    parameters = {**_ALIVE, **_parts(url), "client_encoding": "utf8"}
    settings = {
        # Our tables first, and new ones are created there; extensions (vector) are in public.
        "search_path": f"{_quoted(options.schema)}, public",
        "TimeZone": "UTC",
        "statement_timeout": _milliseconds(options.statement_timeout),
        "lock_timeout": _milliseconds(options.lock_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(options.idle_timeout),
    }
    setting_up = sql.SQL("SELECT {}").format(
        sql.SQL(", ").join(
            sql.SQL("set_config({}, {}, false)").format(sql.Literal(name), sql.Literal(value))
            for name, value in settings.items()
        )
    )

    def connect() -> psycopg.Connection[object]:
        connection = psycopg.connect(autocommit=True, **parameters)
        try:
            connection.execute(setting_up)
        except BaseException:
            connection.close()
            raise
        return connection

    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=options.readers + options.writers,
        max_overflow=0,
        pool_timeout=options.patience,
        pool_recycle=_RECYCLE_SECONDS,
        # Most recently used first: connections that a quiet server does not need grow old and are closed.
        pool_use_lifo=True,
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
        use_native_hstore=False,
    )


def check_server(driver: psycopg.Connection[Any], place: str) -> None:
    """Check that the server can be used. Raises StorageError with the remedy."""
    version = driver.info.server_version
    if version < OLDEST_POSTGRES * 10_000:
        raise StorageUnusable(
            f"{place} is version {version // 10_000}, and {OLDEST_POSTGRES} or later is needed; use a later server"
        )
    encoding = driver.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StorageUnusable(f"{place} stores text as {encoding}; create the database with ENCODING 'UTF8'")
    row = driver.execute("SELECT pg_is_in_recovery()").fetchone()
    if row is not None and row[0]:
        raise StorageReadOnly(place, "it is a standby; give the address of the primary in RUNSTEAD_DATABASE_URL")


def _parts(url: str) -> JsonObject:
    try:
        return conninfo.conninfo_to_dict(url)
    except psycopg.Error as error:
        raise StorageUnusable(
            f"RUNSTEAD_DATABASE_URL cannot be read ({str(error).strip()}); "
            "write it like postgresql://user:password@host:5432/database"
        ) from None


def _milliseconds(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
