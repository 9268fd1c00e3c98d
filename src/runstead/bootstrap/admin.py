"""Adapters for commands that need no running server: the lock of the data directory, API keys, checks of servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runstead.infra.engines.data_dir import own_data_dir
from runstead.settings import Settings

if TYPE_CHECKING:
    from runstead.resources.api_keys import ApiKeyStore
    from runstead.resources.audit import AuditStore
    from runstead.resources.health_checks import HealthCheck

__all__ = ["check_servers", "open_api_keys", "open_audit_log", "own_data_dir"]


@asynccontextmanager
async def open_api_keys(settings: Settings) -> AsyncIterator[ApiKeyStore]:
    """Open the store of API keys in the database that the settings name."""
    from runstead.infra.storage.api_keys import SqlApiKeyStore

    from .migrations import open_database

    async with open_database(settings, migrating=settings.database_migrate_on_start) as database:
        yield SqlApiKeyStore(database)


@asynccontextmanager
async def open_audit_log(settings: Settings) -> AsyncIterator[AuditStore]:
    """Open the audit log in the database that the settings name."""
    from runstead.infra.storage.audit import SqlAuditLog

    from .migrations import open_database

    async with open_database(settings, migrating=settings.database_migrate_on_start) as database:
        yield SqlAuditLog(database)


async def check_servers(settings: Settings) -> list[HealthCheck]:
    """Check PostgreSQL and Redis of a cluster; the first check is whether PostgreSQL can be reached.

    Raises ImportError where the extras of a cluster are not installed.
    """
    from runstead.infra.engines.postgres_checks import check_postgres
    from runstead.infra.engines.redis_checks import check_redis

    from .postgres_options import postgres_options

    assert settings.database_url is not None
    assert settings.redis_url is not None
    return [
        *await check_postgres(settings.database_url.get_secret_value(), postgres_options(settings)),
        *await check_redis(settings.redis_url.get_secret_value()),
    ]
