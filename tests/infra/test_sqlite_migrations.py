"""The schema: created, migrated with its data, and refused if it is from a later version."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.storage import migrations
from runstead.infra.storage.run_queries import SqlRunQueryStore
from runstead.infra.storage.schema import metadata
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.storage_errors import SchemaTooNew
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.types import RunId
from tests.infra.second_revision import SECOND, first_release, notes_of, second_revision


def test_head_that_opening_relies_on_is_the_latest_revision() -> None:
    (folder,) = migrations.REVISIONS.folders
    assert ScriptDirectory(str(folder.parent)).get_heads() == [migrations.HEAD]


async def test_migrations_create_the_tables_of_the_code(tmp_path: Path) -> None:
    async with open_storage(tmp_path / "runs.sqlite") as database:
        differences = await database.read(
            lambda connection: compare_metadata(
                MigrationContext.configure(connection, opts={"compare_type": False}), metadata
            )
        )
    assert differences == []


def indexes_of(connection: Connection) -> dict[str, str]:
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))
    return {name: " ".join(sql.split()) for name, sql in rows}


async def test_reopening_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    async with open_storage(path) as database:
        before = await database.read(indexes_of)
    async with open_storage(path) as database:
        assert await database.read(indexes_of) == before


async def test_database_of_an_earlier_release_is_migrated_with_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    await first_release(path)
    async with open_storage(path, revisions=second_revision(tmp_path)) as database:
        assert await database.read(migrations.revision_of) == SECOND
        assert await database.read(notes_of) == ["migrated"]
        with acting(ActorContext("alice")):
            run = await SqlRunQueryStore(database).get_run(RunId("r-1"))
    assert run is not None
    assert (run.thread_id, run.spec.input, run.spec.graph_id) == ("t-1", {"x": 1}, "g-1")


async def test_new_database_gets_the_tables_of_the_code_and_runs_no_script(tmp_path: Path) -> None:
    async with open_storage(tmp_path / "runs.sqlite", revisions=second_revision(tmp_path, "1/0")) as database:
        assert await database.read(migrations.revision_of) == SECOND
        assert set(await database.read(lambda c: inspect(c).get_table_names())) == {*metadata.tables, "alembic_version"}


async def test_failed_upgrade_is_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    await first_release(path)
    # The script creates its table, writes to it, and then fails.
    with pytest.raises(ZeroDivisionError):
        async with open_storage(path, revisions=second_revision(tmp_path, "1/0")):
            pass
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (migrations.HEAD,)
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'notes'").fetchone() == (0,)


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


@pytest.mark.parametrize("is_new", [True, False])
async def test_new_or_current_database_is_opened_without_alembic(is_new: bool, tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    if not is_new:
        async with open_storage(path):
            pass
    code = (
        "import asyncio, sys; from pathlib import Path; from runstead.infra.storage.sqlite import open_storage\n"
        "async def main():\n    async with open_storage(Path(sys.argv[1])): assert 'alembic' not in sys.modules\n"
        "asyncio.run(main())"
    )
    ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code, str(path)], check=False)
    assert ended.returncode == 0
