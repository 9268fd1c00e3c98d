"""Options of the PostgreSQL connection pool, from the settings."""

from __future__ import annotations

from runstead.infra.engines.postgres_pool import PostgresOptions
from runstead.settings import Settings


def postgres_options(settings: Settings) -> PostgresOptions:
    return PostgresOptions(
        pool_size=settings.database_pool_size,
        schema=settings.database_schema,
        statement_timeout=settings.database_statement_timeout_seconds,
        patience=settings.database_patience_seconds,
        row_security=settings.database_row_security,
    )
