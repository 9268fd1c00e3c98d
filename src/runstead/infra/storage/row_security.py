"""Row-level security of PostgreSQL: the database itself shows a transaction only the rows of its actor's tenant.

It is a second wall behind the conditions of the statements. The engine names the tenant at the beginning of each
transaction of an actor; work of the server itself, such as leases and sweeps, names none, and sees all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Table, text

from runstead.infra.engines.tenant_variables import TENANT_LABEL_VARIABLE, TENANT_VARIABLE
from runstead.resources.storage_errors import StorageUnusable

from . import checkpoint_tables
from .schema import (
    api_keys,
    assistant_versions,
    audit_log,
    frame_archives,
    frame_blocks,
    item_vectors,
    items,
    metadata,
    run_events,
    thread_priorities,
    thread_ttls,
    webhook_attempts,
)

_TENANT: Final = f"current_setting('{TENANT_VARIABLE}', true)"
_OF_NAMESPACE: Final = (
    f"coalesce({_TENANT}, '') = '' OR split_part(namespace, '.', 1) = current_setting('{TENANT_LABEL_VARIABLE}', true)"
)
_LAST: Final = "runstead.last_owner"
_SET: Final = text(f"SELECT set_config('{TENANT_VARIABLE}', :tenant, true)")
_POLICY: Final = "runstead_tenant"
_UNLIMITED: Final = (api_keys, audit_log)
"""Read before an actor is known; and one chain over all tenants."""
TENANT_TABLES: Final[tuple[Table, ...]] = tuple(
    table for table in metadata.sorted_tables if "tenant_id" in table.c and table not in _UNLIMITED
)
"""The tables that are limited by their tenant."""
PART_TABLES: Final[Mapping[Table, str]] = {
    **dict.fromkeys(
        (thread_ttls, thread_priorities, run_events, *checkpoint_tables.metadata.sorted_tables), "thread_id"
    ),
    frame_archives: "run_id",
    frame_blocks: "archive_id",
    webhook_attempts: "delivery_id",
    assistant_versions: "assistant_id",
}
"""The tables that hold parts of rows of others, and the column that names the row. They are limited by its tenant."""
_OWNERS: Final[Mapping[str, str]] = {
    "thread_id": "SELECT tenant_id FROM {schema}.threads WHERE thread_id = id",
    "run_id": "SELECT tenant_id FROM {schema}.runs WHERE run_id = id",
    "archive_id": "SELECT tenant_id FROM {schema}.runs "
    "JOIN {schema}.frame_archives USING (run_id) WHERE archive_id = id",
    "delivery_id": "SELECT tenant_id FROM {schema}.webhook_deliveries WHERE delivery_id = id",
    "assistant_id": "SELECT tenant_id FROM {schema}.assistants WHERE assistant_id = id",
}
ITEM_TABLES: Final = (items, item_vectors)
"""Tables with namespaces, whose first label is the tenant."""
UNLIMITED_TABLES: Final[Mapping[str, str]] = {
    "api_keys": "read before the tenant is known",
    "audit_log": "one chain over all tenants",
    "budget_raises": "counters, without content of users",
    "budget_notices": "counters, without content of users",
    "channel_codes": "digests of codes, which are redeemed before the tenant is known",
    "channel_messages": "read by the server before the tenant is known",
    "channel_leases": "names of processes",
    "sweeps": "times of work of the server itself",
    "checkpoint_identity": "SQLite only",
    "encryption_keys": "ids of keys",
    "key_holders": "names of processes",
}
"""The tables that are not limited, with the reason."""


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
    """Enable row-level security for all tables with a tenant, and for those with parts of their rows. Idempotent.

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
            _limit(connection, table, _of_tenant(table))
    for table in ITEM_TABLES:
        if table.name not in there:
            _limit(connection, table, _OF_NAMESPACE)
    missing = [table for table in PART_TABLES if table.name not in there]
    for column in sorted({PART_TABLES[table] for table in missing}):
        _create_owner_function(connection, schema, column)
    for table in missing:
        _limit(connection, table, _of_owner(PART_TABLES[table]))


def _of_tenant(table: Table) -> str:
    # Assistants without a tenant belong to the server, and are everyone's.
    shared = " OR tenant_id IS NULL" if table.c.tenant_id.nullable else ""
    # A variable that was set in an earlier transaction of the session is empty, not null.
    return f"coalesce({_TENANT}, '') IN ('', tenant_id){shared}"


def _of_owner(column: str) -> str:
    """Return the condition for parts of rows: not of another tenant. Parts that remain of a deleted row belong to no
    tenant, so that they can be deleted, too."""
    return f"coalesce({_TENANT}, '') = '' OR coalesce({_function_of(column)}({column}), {_TENANT}) = {_TENANT}"


def _function_of(column: str) -> str:
    return f"runstead_tenant_by_{column}"


def _create_owner_function(connection: Connection, schema: str, column: str) -> None:
    """Create the function that returns the tenant of a row by its key, of whatever tenant it is: it lifts the limit for
    itself, which a subquery in a policy could not."""
    quoted = connection.dialect.identifier_preparer.quote(schema)
    last = f"{_LAST}_by_{column}"
    # Not by a SET clause, for which roles need a privilege.
    connection.exec_driver_sql(
        f"CREATE OR REPLACE FUNCTION {quoted}.{_function_of(column)}(id text) RETURNS text "
        "LANGUAGE plpgsql STABLE STRICT AS $$ "
        f"DECLARE limited text := {_TENANT}; found text; "
        "BEGIN "
        # Most rows of a statement are parts of one: the last answer is kept for the transaction.
        f"IF current_setting('{last}', true) = id THEN RETURN nullif(current_setting('{last}_tenant', true), ''); "
        "END IF; "
        f"PERFORM set_config('{TENANT_VARIABLE}', '', true); "
        f"found := ({_OWNERS[column].format(schema=quoted)}); "
        f"PERFORM set_config('{TENANT_VARIABLE}', limited, true), set_config('{last}', id, true), "
        f"set_config('{last}_tenant', coalesce(found, ''), true); "
        "RETURN found; "
        "END $$"
    )


def _limit(connection: Connection, table: Table, condition: str) -> None:
    name = connection.dialect.identifier_preparer.format_table(table)
    for statement in (
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        # Also for the owner of the table, as which Runstead connects.
        f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY {_POLICY} ON {name} USING ({condition})",
    ):
        connection.exec_driver_sql(statement)
