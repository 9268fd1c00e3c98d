"""Procrastinate's connections, without a round trip that checks each one before its use."""

from __future__ import annotations

from typing import Any

import psycopg
from procrastinate import PsycopgConnector
from psycopg import AsyncConnection

from runstead.infra.engines.postgres_pool import is_stale


class JobConnector(PsycopgConnector):
    """A connector whose pool replaces connections that the server has ended."""

    async def _create_pool(self, pool_args: dict[str, Any]) -> Any:
        return self._pool_factory(**pool_args, open=False, check=_check)


async def _check(connection: AsyncConnection[Any]) -> None:
    if is_stale(connection.pgconn):
        raise psycopg.OperationalError("the server has ended the connection")
