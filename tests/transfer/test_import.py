"""Imports that are interrupted, repeated, or meet rows that they must not overwrite."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from sqlalchemy import Connection, Select, delete, func, select, text, update

from runstead.infra.checkpoints.blocked_names import BlockedNames
from runstead.infra.storage.checkpoint_tables import checkpoints, writes
from runstead.infra.storage.schema import runs, threads
from runstead.infra.transfer.archive import Archive
from runstead.infra.transfer.endpoints import data_dir_place
from runstead.infra.transfer.exceptions import (
    ContentMismatch,
    FileUnusable,
    RowsDiffer,
    StillUsed,
    TransferError,
    UnsafeValues,
    UnstorableValues,
)
from runstead.infra.transfer.export import export
from runstead.infra.transfer.import_ import import_all, verify
from runstead.infra.transfer.reader import is_empty, sums_of
from runstead.infra.transfer.table_groups import TABLE_GROUPS
from runstead.resources.storage_errors import StorageUnusable
from tests.environment import child_environment
from tests.servers.postgres import PostgresSchema

from .conftest import NewPlace
from .samples import NOW, insert_run, insert_thread, threads_of

_SMALL = 2_000


@pytest.fixture
async def file(new_data_dir: NewPlace, tmp_path: Path) -> Path:
    """An export of forty threads, a few of them in each member."""
    return await exported(new_data_dir, tmp_path / "export.zip")


async def exported(new_data_dir: NewPlace, path: Path, count: int = 40, **columns: str) -> Path:
    async with new_data_dir() as source:
        await source.database.write(threads_of(count, **columns))
        manifest = await export(source, path, member_bytes=_SMALL)
    assert len(manifest.members) > 1
    return path


async def test_interrupted_import_continues(file: Path, new_place: NewPlace) -> None:
    async with new_place() as target:
        with Archive.opened(file) as archive:
            with pytest.raises(_CutOffError):
                await import_all(archive, target, on_progress=_cut_off_after(5))
            written = await target.database.read(_threads)
            assert 0 < written < 40
            assert await target.database.read(_halves) == []
            with pytest.raises(ContentMismatch, match="missing"):
                await verify(archive, target)
            imported = await import_all(archive, target)
        assert imported.resumed
        assert imported.written == archive.manifest.rows - 8 * written
        assert await target.database.read(sums_of) == archive.manifest.tables


async def test_killed_import_leaves_only_complete_threads(
    file: Path, tmp_path: Path, postgres: NewPlace, postgres_schema: PostgresSchema, new_data_dir: NewPlace
) -> None:
    """Also for checkpoints in a separate file."""
    schema = {"RUNSTEAD_DATABASE_URL": postgres_schema.url, "RUNSTEAD_DATABASE_SCHEMA": postgres_schema.name}
    for environ, place in (
        ({**schema, "RUNSTEAD_REDIS_URL": "redis://127.0.0.1:1"}, postgres),
        ({"RUNSTEAD_DATA_DIR": str(tmp_path / "data-1")}, new_data_dir),
    ):
        killed_after(3, ["import", str(file), "--json"], environ)
        async with place() as target:
            assert 0 < await target.database.read(_threads) < 40
            assert await target.database.read(_halves) == []
            with Archive.opened(file) as archive:
                assert (await import_all(archive, target)).resumed
            assert await target.database.read(sums_of) == archive.manifest.tables


def killed_after(members: int, command: list[str], environ: dict[str, str]) -> None:
    """Run it, and kill it without warning when it reports this progress."""
    with subprocess.Popen(
        [sys.executable, "-m", "runstead.cli", *command],
        env=child_environment(environ),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if f'"done": {members},' in line:
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


async def test_second_import_changes_nothing(file: Path, new_place: NewPlace) -> None:
    async with new_place() as target:
        with Archive.opened(file) as archive:
            await import_all(archive, target)
            again = await import_all(archive, target)
        assert (again.written, again.more, again.resumed) == (0, 0, False)
        assert await target.database.read(sums_of) == archive.manifest.tables


async def test_import_keeps_other_rows(file: Path, new_place: NewPlace) -> None:
    async with new_place() as target:
        await target.database.write(lambda connection: insert_thread(connection, "another", steps=1))
        with Archive.opened(file) as archive:
            imported = await import_all(archive, target)
        assert imported.more == 3
        assert await target.database.read(_threads) == 41


async def test_differing_row_is_named_and_nothing_is_written(file: Path, new_place: NewPlace) -> None:
    async with new_place() as target:
        await target.database.write(lambda connection: insert_thread(connection, "thread-0007", status="error"))
        before = await target.database.read(sums_of)
        with Archive.opened(file) as archive, pytest.raises(RowsDiffer, match="threads thread-0007") as refused:
            await import_all(archive, target)
        assert "empty place" in str(refused.value)
        assert await target.database.read(sums_of) == before


async def test_row_changed_after_an_interrupted_import_is_not_overwritten(file: Path, new_place: NewPlace) -> None:
    async with new_place() as target:
        with Archive.opened(file) as archive:
            with pytest.raises(_CutOffError):
                await import_all(archive, target, on_progress=_cut_off_after(5))
            await target.database.write(lambda connection: insert_run(connection, "mine", queue_seq=40))
            with pytest.raises(RowsDiffer, match="runs 40"):
                await import_all(archive, target)
        mine = select(runs.c.run_id).where(runs.c.queue_seq == 40)
        assert await target.database.read(lambda c: c.execute(mine).scalar()) == "mine"


async def test_other_archive_is_refused_until_the_first_import_completes(
    file: Path, new_place: NewPlace, new_data_dir: NewPlace, tmp_path: Path
) -> None:
    other = await exported(new_data_dir, tmp_path / "other.zip", count=30)
    async with new_place() as target:
        with Archive.opened(file) as archive, pytest.raises(_CutOffError):
            await import_all(archive, target, on_progress=_cut_off_after(2))
        with Archive.opened(other) as archive, pytest.raises(TransferError, match="another file"):
            await import_all(archive, target)


async def test_verify_lists_the_differences(file: Path, new_place: NewPlace) -> None:
    async with new_place() as target:
        with Archive.opened(file) as archive:
            await import_all(archive, target)
            assert (await verify(archive, target)).tables == {}
            await target.database.write(_spoil)
            with pytest.raises(ContentMismatch) as found:
                await verify(archive, target)
        assert found.value.differences == (
            "checkpoints: 1 missing, 0 different, 0 more (checkpoints thread-0003//000001)",
            "threads: 0 missing, 1 different, 0 more (threads thread-0002)",
            "runs: 0 missing, 0 different, 1 more",
        )


async def test_damaged_file_is_refused_and_nothing_of_the_member_is_written(file: Path, new_place: NewPlace) -> None:
    half, spoilt = _damaged(file)
    with pytest.raises(FileUnusable, match="not a whole one"), Archive.opened(half):
        pass
    async with new_place() as target:
        with Archive.opened(spoilt) as archive, pytest.raises(FileUnusable, match="damaged in 000001-threads"):
            await import_all(archive, target)
        assert await target.database.read(is_empty)


async def test_file_of_another_revision_is_refused(file: Path, new_data_dir: NewPlace) -> None:
    changed = file.with_name("changed.zip")
    _with_manifest(file, changed, b'"revision": "', b'"revision": "0')
    async with new_data_dir() as target:
        with Archive.opened(changed) as archive, pytest.raises(FileUnusable, match="runstead migrate"):
            await import_all(archive, target)
    _with_manifest(file, changed, b'"version": 1', b'"version": 2')
    with pytest.raises(FileUnusable, match="reads version 1"), Archive.opened(changed):
        pass


async def test_older_schema_is_refused_until_migrated(file: Path, tmp_path: Path, new_data_dir: NewPlace) -> None:
    async with new_data_dir() as place:
        await place.database.write(_older)
    with pytest.raises(StorageUnusable, match="run `runstead migrate` first"):
        async with data_dir_place(tmp_path / "data-1", making=True):
            pass


async def test_text_postgresql_cannot_store_is_reported_before_any_write(
    new_data_dir: NewPlace, postgres: NewPlace, tmp_path: Path
) -> None:
    file = await exported(new_data_dir, tmp_path / "nul.zip", count=30, error="a \0 in it")
    with Archive.opened(file) as archive:
        async with postgres() as target:
            with pytest.raises(UnstorableValues, match=r"threads thread-0000 \(error\)"):
                await import_all(archive, target)
            assert await target.database.read(is_empty)
        async with new_data_dir() as target:
            assert (await import_all(archive, target)).written == archive.manifest.rows


async def test_rejected_row_is_reported_with_its_position(
    new_data_dir: NewPlace, postgres: NewPlace, tmp_path: Path
) -> None:
    # PostgreSQL has an index on these, and so parses them as JSON.
    file = await exported(new_data_dir, tmp_path / "broken.zip", count=30, metadata="no JSON")
    async with postgres() as target:
        with Archive.opened(file) as archive, pytest.raises(UnstorableValues, match="a row of 000001-threads"):
            await import_all(archive, target)
        assert await target.database.read(is_empty)


async def test_running_cluster_cannot_be_exported_or_imported_into(
    file: Path, postgres: NewPlace, tmp_path: Path
) -> None:
    async with postgres() as place:
        await place.database.write(lambda connection: insert_run(connection, "held", ended_at=None, lease_until=NOW))
        with pytest.raises(StillUsed, match="1 runs are being executed"):
            await export(place, tmp_path / "no.zip")
        await place.database.write(lambda c: c.execute(update(runs).values(lease_until=None)).rowcount)
        await place.database.write(_beat)
        with Archive.opened(file) as archive, pytest.raises(StillUsed, match="1 workers are alive"):
            await import_all(archive, place)
        await place.database.write(_fall_silent)
        await export(place, tmp_path / "yes.zip")


async def test_export_is_complete_or_absent(new_data_dir: NewPlace, tmp_path: Path, file: Path) -> None:
    async with new_data_dir() as source:
        await source.database.write(threads_of(3))
        with pytest.raises(FileUnusable, match="is there already"):
            await export(source, file)
        await source.database.write(lambda c: c.exec_driver_sql("DROP TABLE crons").close())
        with pytest.raises(Exception, match="crons"):
            await export(source, tmp_path / "no.zip")
    assert not any(name.startswith("no.zip") for name in os.listdir(tmp_path))
    assert os.stat(file).st_mode & 0o777 == 0o600


async def test_memory_does_not_grow_with_the_archive(
    new_data_dir: NewPlace, postgres: NewPlace, tmp_path: Path
) -> None:
    """One thread of 36 MB."""
    file = tmp_path / "large.zip"
    async with new_data_dir() as source, postgres() as target:
        await source.database.write(lambda c: insert_thread(c, "large", steps=1_500, size=12_000))
        tracemalloc.start()
        try:
            await export(source, file)
            with Archive.opened(file) as archive:
                await import_all(archive, target)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 12_000_000


async def test_rows_are_read_by_an_index_and_not_sorted(new_data_dir: NewPlace) -> None:
    async with new_data_dir() as place:
        for part in TABLE_GROUPS:
            for table, order in zip(part.tables, part.orders, strict=True):
                plan = await place.database.read(partial(_plan, statement=select(*table.c).order_by(*order)))
                assert "TEMP B-TREE" not in plan, (table.name, plan)


class _CutOffError(Exception):
    """Like a power failure."""


def _cut_off_after(members: int) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        assert total > members
        if done == members:
            raise _CutOffError

    return report


def _threads(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(threads)).scalar() or 0


def _halves(connection: Connection) -> list[str]:
    """Threads without all their checkpoints, or without their run."""
    whole = (
        select(checkpoints.c.thread_id)
        .join(runs, runs.c.thread_id == checkpoints.c.thread_id)
        .group_by(checkpoints.c.thread_id)
        .having(func.count() == 3)
    )
    return list(connection.execute(select(threads.c.thread_id).where(threads.c.thread_id.not_in(whole))).scalars())


def _spoil(connection: Connection) -> None:
    connection.execute(update(threads).where(threads.c.thread_id == "thread-0002").values(status="error"))
    third = (checkpoints.c.thread_id == "thread-0003") & (checkpoints.c.checkpoint_id == "000001")
    connection.execute(delete(checkpoints).where(third))
    insert_run(connection, "new", thread_id="thread-0004", queue_seq=1_000)


def _damaged(file: Path) -> tuple[Path, Path]:
    """The file truncated in the middle, and with a wrong byte in its first member."""
    whole, half, spoilt = file.read_bytes(), file.with_name("half.zip"), file.with_name("spoilt.zip")
    half.write_bytes(whole[: len(whole) // 2])
    spoilt.write_bytes(whole[:200] + bytes([whole[200] ^ 0xFF]) + whole[201:])
    return half, spoilt


def _with_manifest(source: Path, target: Path, old: bytes, new: bytes) -> None:
    with zipfile.ZipFile(source) as read, zipfile.ZipFile(target, "w") as written:
        for name in read.namelist():
            content = read.read(name)
            written.writestr(name, content.replace(old, new) if name == "manifest.json" else content)


def _older(connection: Connection) -> None:
    connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))


def _beat(connection: Connection) -> None:
    connection.execute(text("INSERT INTO procrastinate_workers DEFAULT VALUES"))


def _fall_silent(connection: Connection) -> None:
    connection.execute(text("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '31 s'"))


def _plan(connection: Connection, statement: Select[Any]) -> str:
    sql = statement.compile(connection)
    return " / ".join(row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}"))


def test_unterminated_manifest_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "export.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b" " * (300 * 1024 * 1024))
    tracemalloc.start()
    try:
        with pytest.raises(FileUnusable, match="manifest of more than"), Archive.opened(file):
            pass
        assert tracemalloc.get_traced_memory()[1] < 200 * 1024 * 1024
    finally:
        tracemalloc.stop()


async def hostile_file(new_data_dir: NewPlace, tmp_path: Path) -> Path:
    """An export of nine writes that name a function."""
    call = ormsgpack.packb({"x": [ormsgpack.Ext(0, ormsgpack.packb(("os", "system", f"touch {tmp_path / 'marker'}")))]})
    path = tmp_path / "hostile.zip"
    async with new_data_dir() as source:
        await source.database.write(threads_of(3))
        await source.database.write(lambda c: c.execute(update(writes).values(value=call)).close())
        await export(source, path, member_bytes=_SMALL)
    return path


async def test_file_that_names_functions_is_refused_and_logged(
    new_data_dir: NewPlace, new_place: NewPlace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = await hostile_file(new_data_dir, tmp_path)
    async with new_place() as target:
        with Archive.opened(path) as archive:
            with pytest.raises(UnsafeValues, match=r"9 values .* os\.system.*--accept-blocked") as refused:
                await import_all(archive, target, blocked=BlockedNames())
            assert await target.database.read(is_empty)
            assert await import_all(archive, target, blocked=BlockedNames(frozenset({("os", "system")})))
    assert refused.value.names == ("os.system",)
    assert "writes thread-0000//000000/t/0 names os.system, which is not data" in caplog.text
    assert not (tmp_path / "marker").exists()


async def test_import_command_refuses_function_names_unless_accepted(new_data_dir: NewPlace, tmp_path: Path) -> None:
    command = ["import", str(await hostile_file(new_data_dir, tmp_path)), "--data-dir", str(tmp_path / "target")]
    (tmp_path / "agent.py").touch()
    config = tmp_path / "langgraph.json"
    serde = {"allowed_msgpack_modules": [["os", "path"]]}
    config.write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}, "checkpointer": {"serde": serde}}))
    run = partial(subprocess.run, env=child_environment(), capture_output=True, text=True, timeout=60, check=False)
    for options, exit_code in (([], 1), (["--config", str(config)], 1), (["--accept-blocked"], 0)):
        done = await asyncio.to_thread(run, [sys.executable, "-m", "runstead.cli", *command, *options])
        assert done.returncode == exit_code, done.stderr
        assert ("os.system" in done.stderr) == (exit_code == 1)
    assert not (tmp_path / "marker").exists()
