"""The schema on PostgreSQL: created by the first server, equal to the code's, and separate from other applications."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.infra.engines.postgres_pool import PostgresOptions
from runstead.infra.storage import checkpoint_tables
from runstead.infra.storage.migrations import HEAD, revision_of
from runstead.infra.storage.postgres import open_postgres_storage
from runstead.infra.storage.schema import metadata
from runstead.resources.storage_errors import SchemaTooNew, StorageUnusable
from tests.infra.second_revision import SECOND, notes_of, second_revision
from tests.servers.postgres import a_schema, fresh_storage


async def test_migrations_create_the_tables_of_the_code(postgres_url: str) -> None:
    def differences(connection: Connection) -> object:
        options = {"compare_type": False, "include_object": is_defined_in_the_code}
        # A list is accepted, too, which its type does not say.
        both: Any = [metadata, checkpoint_tables.metadata]
        return compare_metadata(MigrationContext.configure(connection, opts=options), both)

    async with fresh_storage(postgres_url) as database:
        assert await database.read(differences) == []


def is_defined_in_the_code(_what: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
    return not (kind == "table" and str(name).startswith("procrastinate_")) and not str(name).endswith("_json")


async def test_partial_indexes_have_the_conditions_that_queries_use(postgres_url: str) -> None:
    """A query uses a partial index only if it has its condition, and SQLite's form of it differs."""
    async with fresh_storage(postgres_url) as database:
        found = await database.read(conditions_of)
    assert found["ix_runs_dead"] == "dead_letter"
    assert found["ix_runs_temporary"] == "(temporary AND (ended_at IS NOT NULL))"
    assert found["ix_checkpoints_run"] == "(run_id IS NOT NULL)"


def conditions_of(connection: Connection) -> dict[str, str]:
    rows = connection.execute(
        text(
            "SELECT indexrelid::regclass::text, pg_get_expr(indpred, indrelid) FROM pg_index"
            " JOIN pg_class ON pg_class.oid = indexrelid"
            " WHERE relnamespace = current_schema()::regnamespace AND indpred IS NOT NULL"
        )
    )
    return {name: condition for name, condition in rows}  # noqa: C416  (rows are no pairs to mypy)


async def test_text_columns_use_the_c_collation(postgres_url: str) -> None:
    statement = text(
        "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE data_type = 'text'"
        " AND table_schema = current_schema() AND collation_name IS DISTINCT FROM 'C'"
        # These are not Runstead's.
        " AND table_name NOT LIKE 'procrastinate%'"
    )
    async with fresh_storage(postgres_url) as database:
        assert await database.read(lambda connection: connection.execute(statement).scalars().all()) == []


async def test_concurrent_starts_create_the_schema_once(postgres_url: str) -> None:
    schema = a_schema()

    async def start() -> str | None:
        async with open_postgres_storage(postgres_url, PostgresOptions(pool_size=2, schema=schema)) as database:
            return await database.read(revision_of)

    try:
        assert await asyncio.gather(*(start() for _ in range(6))) == [HEAD] * 6
    finally:
        with psycopg.connect(postgres_url) as connection:
            connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


async def test_tables_of_another_application_in_public_are_ignored(postgres_url: str) -> None:
    """Also the alembic_version of another application, as most have one."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE public.alembic_version (version_num text)")
        connection.execute("INSERT INTO public.alembic_version VALUES ('theirs')")
    try:
        async with fresh_storage(postgres_url) as database:
            assert await database.read(revision_of) == HEAD
    finally:
        with psycopg.connect(postgres_url) as connection:
            assert connection.execute("TABLE public.alembic_version").fetchall() == [("theirs",)]
            connection.execute("DROP TABLE public.alembic_version")


async def test_outdated_schema_is_not_migrated_when_migration_is_manual(postgres_url: str) -> None:
    with pytest.raises(StorageUnusable, match="runstead migrate"):
        async with open_postgres_storage(postgres_url, PostgresOptions(schema=a_schema()), migrating=False):
            pass
    async with (
        fresh_storage(postgres_url) as database,
        open_postgres_storage(postgres_url, database.options, migrating=False) as again,
    ):
        assert await again.read(revision_of) == HEAD


@pytest.mark.parametrize("migrating", [True, False])
async def test_schema_of_a_later_version_is_refused(migrating: bool, postgres_url: str) -> None:
    async with fresh_storage(postgres_url) as database:
        await database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")).close())
        with pytest.raises(SchemaTooNew, match="9999"):
            async with open_postgres_storage(postgres_url, database.options, migrating=migrating):
                pass


async def test_database_of_an_earlier_release_is_migrated(postgres_url: str, tmp_path: Path) -> None:
    async with fresh_storage(postgres_url) as database:
        later = second_revision(tmp_path)
        with pytest.raises(StorageUnusable, match="runstead migrate"):
            async with open_postgres_storage(postgres_url, database.options, migrating=False, revisions=later):
                pass
        with pytest.raises(ZeroDivisionError):
            async with open_postgres_storage(
                postgres_url, database.options, revisions=second_revision(tmp_path / "failing", "1/0")
            ):
                pass
        assert await database.read(revision_of) == HEAD
        async with open_postgres_storage(postgres_url, database.options, revisions=later) as migrated:
            assert await migrated.read(revision_of) == SECOND
            assert await migrated.read(notes_of) == ["migrated"]


async def test_failed_creation_is_rolled_back(postgres_url: str) -> None:
    schema = a_schema()
    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.run_events (x int)".encode())
    try:
        with pytest.raises(Exception, match="already exists"):
            async with open_postgres_storage(postgres_url, PostgresOptions(schema=schema)):
                pass
        with psycopg.connect(postgres_url) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
        assert tables == [("run_events",)]
    finally:
        with psycopg.connect(postgres_url) as connection:
            connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


@pytest.mark.parametrize(
    ("stored", "wanted", "contained"),
    [
        ('{"a":"x\\u0000y"}', '{"a":"x\\u0000y"}', True),
        (' {"a":"\\ud800","b":1}', '{"b":1}', True),
        (' {"a":"\\ud83d\\ude00"}', '{"a":"😀"}', True),
        (' {"a":"\\\\ud800"}', '{"a":"\\\\ud800"}', True),
        (' {"a":"\\\\\\ud800"}', '{"a":"\\\\ud800"}', False),
        (' {"a":[NaN,NaN,-Infinity],"b":{"c":Infinity}}', '{"b":{}}', True),
        (' {"a":NaN}', '{"a":1}', False),
        (' {"a":123456789012345678901234567890}', ' {"a":123456789012345678901234567890}', True),
        ('{"a":true}', '{"a":1}', False),
        ('{"a":[1,{"b":2}]}', '{"a":[{"b":2}]}', True),
        ('{"a":["x"]}', '{"a":"x"}', False),
    ],
)
async def test_any_stored_json_can_be_searched(
    postgres_database: PostgresDatabase, stored: str, wanted: str, contained: bool
) -> None:
    statement = text("SELECT runstead_json(:stored) @> runstead_json(:wanted)")
    values = {"stored": stored, "wanted": wanted}
    found = await postgres_database.read(lambda connection: connection.execute(statement, values).scalar())
    assert found is contained
