"""Health checks of PostgreSQL for `runstead doctor`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, text

from runstead.resources.health_checks import HealthCheck
from runstead.resources.storage_errors import StorageError

from .postgres import open_postgres
from .postgres_pool import PostgresOptions

_SKEW: Final = 1.0
"""Difference in seconds between our clock and the server's that is worth a warning. Runs use the database's clock."""
_PATIENCE: Final = 1.0
"""Seconds; short, since an operator waits at the terminal."""
_LISTENERS: Final = 3
"""Connections of a process besides its pool: procrastinate's."""
_ABOUT: Final = text(
    "SELECT current_setting('server_version'), current_setting('max_connections')::int,"
    " current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'),"
    " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
    " (SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'),"
    " extract(epoch FROM clock_timestamp())"
)


async def check_postgres(url: str, options: PostgresOptions) -> list[HealthCheck]:
    """Return all findings. A server that cannot be reached or used yields a single finding; nothing is raised."""
    try:
        async with open_postgres(url, replace(options, patience=_PATIENCE)) as database:
            about = await database.read(_about)
            place = database.place
    except StorageError as error:
        return [HealthCheck("postgres", "failed", str(error), "correct RUNSTEAD_DATABASE_URL, or start the server")]
    version, most, fsync, commit, pages, connected, vectors, now = about
    return [
        HealthCheck("postgres", "ok", f"{version} at {place}"),
        _connections(most, connected, options.pool_size + _LISTENERS),
        *_durability({"fsync": fsync, "full_page_writes": pages, "synchronous_commit": commit}),
        _clock(float(now) - time.time()),
        _vectors(bool(vectors)),
    ]


def _about(connection: Connection) -> tuple[Any, ...]:
    return tuple(connection.execute(_ABOUT).one())


def _connections(most: int, connected: int, needed: int) -> HealthCheck:
    finding = f"{connected} of {most} connections are used, each server and worker takes up to {needed}"
    if most - connected < needed:
        way_out = "raise its max_connections, or lower database_pool_size"
        return HealthCheck("postgres connections", "failed", finding, way_out)
    if most - connected < 3 * needed:
        way_out = "raise its max_connections before you start more of them"
        return HealthCheck("postgres connections", "warning", finding, way_out)
    return HealthCheck("postgres connections", "ok", finding)


def _durability(settings: dict[str, str]) -> Iterator[HealthCheck]:
    off = [name for name, value in settings.items() if value == "off"]
    for name in off:
        yield HealthCheck(
            "postgres durability",
            "failed" if name == "fsync" else "warning",
            f"{name} is off: a crash of its machine may lose runs that were accepted",
            f"set {name} to on",
        )
    if not off:
        yield HealthCheck("postgres durability", "ok", "committed data is on disk")


def _clock(ahead: float) -> HealthCheck:
    if abs(ahead) > _SKEW:
        finding = f"its clock is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
        return HealthCheck("postgres clock", "warning", finding, "runs use its clock; log times use this machine's")
    return HealthCheck("postgres clock", "ok", "this machine's clock agrees with it")


def _vectors(are_there: bool) -> HealthCheck:
    if are_there:
        return HealthCheck("postgres vectors", "ok", "pgvector can compare vectors of items in the database")
    return HealthCheck("postgres vectors", "ok", "no pgvector: Runstead compares vectors of items itself")
