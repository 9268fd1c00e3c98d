"""The schema: created, migrated with its data, and refused if it is from a later version."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.engines.sqlite import open_sqlite
from runstead.infra.storage import migrations
from runstead.infra.storage.assistants import SqlAssistantStore
from runstead.infra.storage.run_queries import SqlRunQueryStore
from runstead.infra.storage.schema import metadata
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.assistants import AssistantChange, assistant_id_of
from runstead.resources.storage_errors import SchemaTooNew
from runstead.runtime.actor_context import ActorContext, acting
from runstead.testing.clock import ManualClock


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return ScriptDirectory.from_config(config)


def test_head_that_opening_relies_on_is_the_latest_revision() -> None:
    assert scripts().get_heads() == [migrations.HEAD]


async def test_migrations_create_the_tables_of_the_code(tmp_path: Path) -> None:
    async with open_storage(tmp_path / "runs.sqlite") as database:
        differences = await database.read(
            lambda connection: compare_metadata(
                MigrationContext.configure(connection, opts={"compare_type": False}), metadata
            )
        )
    assert differences == []


async def test_partial_index_conditions_equal_those_of_the_code(tmp_path: Path) -> None:
    async with open_storage(tmp_path / "made.sqlite") as database:
        by_migration = await database.read(indexes_of)
    async with open_sqlite(tmp_path / "wanted.sqlite") as database:
        await database.write(metadata.create_all)
        by_code = await database.read(indexes_of)
    assert by_migration == by_code


def indexes_of(connection: Connection) -> dict[str, str]:
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
    return {name: " ".join(sql.split()) for name, sql in rows}


async def test_reopening_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    async with open_storage(path) as database:
        before = await database.read(indexes_of)
    async with open_storage(path) as database:
        assert await database.read(indexes_of) == before


async def test_database_of_the_first_release_is_migrated_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    async with open_sqlite(path) as database:
        await database.write(first_release)
    async with open_storage(path) as database:
        with acting(ActorContext("alice")):
            run = await SqlRunQueryStore(database).get_run("r-1")
        assert run is not None
        assert (run.thread_id, run.spec.input, run.spec.graph_id) == ("t-1", {"x": 1}, "g-1")
        tables = await database.read(lambda c: c.execute(text("SELECT name FROM sqlite_master")).scalars().all())
    assert {"assistants", "run_events", "run_event_threads"} <= set(tables)


def upgrade(connection: Connection, to: str) -> None:
    connection.execute(text("SELECT 1"))
    script, config = scripts(), Config()
    with EnvironmentContext(config, script, fn=lambda revision, _: script._upgrade_revs(to, revision)) as context:
        context.configure(connection=connection)
        context.run_migrations()


def first_release(connection: Connection) -> None:
    upgrade(connection, "0001")
    connection.execute(
        text(
            "INSERT INTO runs (run_id, thread_id, tenant_id, user_id, assistant_id, status, created_at, updated_at,"
            " due_at, attempt, lapses, dead_letter, temporary, actor, metadata, spec) VALUES ('r-1', 't-1', 'default',"
            " 'alice', 'a-1', 'pending', 0, 0, 0, 0, 0, 0, 0, :actor, :metadata, :spec)"
        ),
        {
            "actor": '{"user_id":"alice","tenant_id":"default"}',
            "metadata": "{}",
            "spec": '{"assistant_id":"a-1","graph_id":"g-1","scope":{"kind":"stateful"},"input":{"x":1},'
            '"stream_modes":["values"],"interrupt_before":[],"interrupt_after":[]}',
        },
    )


async def test_assistants_from_before_there_were_versions_have_one(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    async with open_sqlite(path) as database:
        await database.write(with_an_assistant)
    async with open_storage(path) as database:
        assistants = SqlAssistantStore(database, ManualClock())
        await assistants.register_graphs({"agent": None})
        with acting(ActorContext("alice")):
            before = await assistants.get(assistant_id_of("agent"))
            (version,) = await assistants.versions(assistant_id_of("agent"))
            changed = await assistants.update(assistant_id_of("agent"), AssistantChange(context={"x": 1}))
    assert before is not None
    assert (version.version, version.metadata, version.created_at) == (1, {"old": 1}, before.created_at)
    assert changed is not None
    assert changed.version == 2


def with_an_assistant(connection: Connection) -> None:
    upgrade(connection, "0004")
    connection.execute(
        text(
            "INSERT INTO assistants (assistant_id, shared, graph_id, name, config, context, metadata, version,"
            " created_at, updated_at) VALUES (:id, 1, 'agent', 'agent', '{}', '{}', :metadata, 1, 7, 8)"
        ),
        {"id": assistant_id_of("agent"), "metadata": '{"old":1}'},
    )


async def test_failed_upgrade_is_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    async with open_sqlite(path) as database:
        await database.write(first_release)
        # An object in the way of the last revision.
        await database.write(lambda connection: connection.execute(text("CREATE TABLE run_events (x)")).close())
    with pytest.raises(Exception, match="already exists"):
        async with open_storage(path):
            pass
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'assistants'").fetchone() == (0,)
    connection.close()


async def test_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    async with open_storage(path) as database:
        await database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")).close())
    with pytest.raises(SchemaTooNew, match="9999"):
        async with open_storage(path):
            pass


async def test_checkpoints_of_a_later_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.sqlite"
    async with open_checkpoints(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SchemaTooNew, match="99"):
        async with open_checkpoints(path):
            pass


async def test_current_database_is_opened_without_alembic(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    async with open_storage(path):
        pass
    code = (
        "import asyncio, sys; from pathlib import Path; from runstead.infra.storage.sqlite import open_storage\n"
        "async def main():\n    async with open_storage(Path(sys.argv[1])): assert 'alembic' not in sys.modules\n"
        "asyncio.run(main())"
    )
    ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code, str(path)], check=False)
    assert ended.returncode == 0
