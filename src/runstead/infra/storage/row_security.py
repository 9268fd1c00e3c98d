"""Row-level security of PostgreSQL: the database itself shows a transaction only the rows of its actor's tenant.

It is a second wall behind the conditions of the statements. The engine names the tenant at the beginning of each
transaction of an actor; work of the server itself, such as leases and sweeps, names none, and sees all rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Table, text

from runstead.infra.engines.postgres_pool import TENANT_VARIABLE
from runstead.resources.storage_errors import StorageUnusable

from .schema import api_keys, audit_log, metadata

_SET: Final = text(f"SELECT set_config('{TENANT_VARIABLE}', :tenant, true)")
_POLICY: Final = "runstead_tenant"
_UNLIMITED: Final = (api_keys, audit_log)
"""Read before an actor is known; and one chain over all tenants."""
TENANT_TABLES: Final[tuple[Table, ...]] = tuple(
    table for table in metadata.sorted_tables if "tenant_id" in table.c and table not in _UNLIMITED
)
"""The tables that are limited. Tables without a tenant hold parts of their rows, and are found by the ids of these."""


@contextmanager
def lifted_row_security(connection: Connection) -> Iterator[None]:
    """Let the transaction see the rows of all tenants for the duration of a block. For sums over all of them."""
    tenant = None
    if connection.dialect.name == "postgresql":
        tenant = connection.execute(text(f"SELECT current_setting('{TENANT_VARIABLE}', true)")).scalar()
    if tenant:
        connection.execute(_SET, {"tenant": ""}).close()
    yield
    # After an error, the transaction is rolled back, and this with it.
    if tenant:
        connection.execute(_SET, {"tenant": tenant}).close()


def enforce_row_security(connection: Connection) -> None:
    """Enable row-level security for all tables with a tenant. Idempotent.

    Raises StorageUnusable for a role that no policy applies to.
    """
    bypasses = connection.execute(
        text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    ).scalar_one()
    if bypasses:
        raise StorageUnusable(
            "database_row_security has no effect for the role of database_url, which is a superuser or has BYPASSRLS; "
            "use a role without these, which owns the schema, or set database_row_security to false"
        )
    schema = connection.execute(text("SELECT current_schema()")).scalar_one()
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"runstead {schema}"})
    existing = connection.execute(
        text("SELECT tablename FROM pg_policies WHERE schemaname = :schema AND policyname = :name"),
        {"schema": schema, "name": _POLICY},
    )
    there = set(existing.scalars())
    for table in TENANT_TABLES:
        if table.name not in there:
            _limit(connection, table)


def _limit(connection: Connection, table: Table) -> None:
    name = connection.dialect.identifier_preparer.format_table(table)
    # Assistants without a tenant belong to the server, and are everyone's.
    shared = " OR tenant_id IS NULL" if table.c.tenant_id.nullable else ""
    # A variable that was set in an earlier transaction of the session is empty, not null.
    condition = f"coalesce(current_setting('{TENANT_VARIABLE}', true), '') IN ('', tenant_id){shared}"
    for statement in (
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        # Also for the owner of the table, as which Runstead connects.
        f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY {_POLICY} ON {name} USING ({condition})",
    ):
        connection.exec_driver_sql(statement)
