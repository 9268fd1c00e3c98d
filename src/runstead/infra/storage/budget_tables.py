"""The tables of budgets; see `runstead.infra.storage.schema`."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Float, Index, Integer, Table, text

from .column_types import Counter, Text, UtcTime
from .tables_metadata import metadata

# Estimates of the model calls in flight of each attempt. A row counts only while its attempt holds the run.
budget_reservations: Final = Table(
    "budget_reservations",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("thread_id", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("graph_id", Text, nullable=False),
    Column("tokens", Counter, nullable=False),
    Column("usd", Float, nullable=False),
    sqlite_with_rowid=False,
)

# What humans added to a budget, by the run that answered its interrupt. ``budget`` names the counter (`Budget.key`).
budget_raises: Final = Table(
    "budget_raises",
    metadata,
    Column("budget", Text, primary_key=True),
    Column("run_id", Text, primary_key=True),
    Column("amount", Float, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)

# What was noticed about a budget in its window: its ``kind`` (a warning, or that it is used up) and the limit at that
# time. A row with ``expires_at`` is of a window that is over then, and deleted.
budget_notices: Final = Table(
    "budget_notices",
    metadata,
    Column("budget", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("amount", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    sqlite_with_rowid=False,
)
_EXPIRES: Final = text("expires_at IS NOT NULL")
Index(
    "ix_budget_notices_expires",
    budget_notices.c.expires_at,
    sqlite_where=_EXPIRES,
    postgresql_where=_EXPIRES,
)
