"""A backup of a running server, restored: complete, consistent, and its runs continue."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.bootstrap.migrations import migrate_schema
from runstead.infra.engines.data_dir import own_data_dir
from runstead.infra.storage.migrations import HEAD
from runstead.infra.transfer.backup import back_up, restore
from runstead.infra.transfer.exceptions import FileUnusable, TransferError
from runstead.resources.storage_errors import StorageUnusable
from runstead.settings import load_settings
from tests.cli.processes import Background, command_of, environ_of
from tests.infra.second_revision import SECOND, first_release, second_revision
from tests.processes.test_exhaustion import GRAPHS, WITHIN, until

pytestmark = pytest.mark.timeout(300)


def command(place: Path, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        command_of(*arguments, "--json"),
        cwd=place,
        env=environ_of(place),
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return last


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Path], tuple[Background, httpx.Client]]]:
    (tmp_path / "agent.py").write_text(GRAPHS)
    started: list[Background] = []

    def start(data: Path) -> tuple[Background, httpx.Client]:
        arguments = ("serve", "agent.py:steps", "--port", "0", "--data-dir", str(data), "--json")
        started.append(Background(*arguments, cwd=tmp_path, home=tmp_path))
        return started[-1], httpx.Client(base_url=str(started[-1].wait_for("started")["url"]), timeout=WITHIN)

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def test_run_in_flight_resumes_after_the_restore(
    serve: Callable[[Path], tuple[Background, httpx.Client]], tmp_path: Path
) -> None:
    serving, client = serve(tmp_path / "data")
    (tmp_path / "hold2").touch()
    thread = client.post("/threads", json={"metadata": {"topic": "kept"}}).json()["thread_id"]
    run = client.post(f"/threads/{thread}/runs", json={"assistant_id": "steps", "input": {}}).json()["run_id"]
    begun = tmp_path / "begun"
    until(lambda: begun.exists() and "2" in begun.read_text(), "the second node did not begin")
    said = command(tmp_path, "backup", "kept.zip", "--data-dir", "data")
    assert said["event"] == "backed up"
    assert stat.S_IMODE((tmp_path / "kept.zip").stat().st_mode) == 0o600
    # Changes after the backup are not in it.
    late = client.post("/threads", json={}).json()["thread_id"]
    command(tmp_path, "export", "export.zip", "--data-dir", "data")
    assert command(tmp_path, "restore", "kept.zip", "--data-dir", "data", exit_code=1)["event"] == "error"
    serving.process.kill()
    serving.process.wait()
    (tmp_path / "hold2").unlink()

    command(tmp_path, "restore", "kept.zip", "--data-dir", "again")
    serving, client = serve(tmp_path / "again")
    assert client.get(f"/threads/{thread}/runs/{run}/join").json()["log"] == [1, 2, 3]
    record = client.get(f"/threads/{thread}/runs/{run}").json()
    assert (record["status"], record["attempt"]) == ("success", 2)
    assert client.get(f"/threads/{thread}").json()["metadata"]["topic"] == "kept"
    assert client.get(f"/threads/{late}").status_code == 404
    # The first node was complete, and was not executed again.
    assert begun.read_text().split() == ["1", "2", "2", "3"]
    assert serving.end() == 0

    # An export of the running server is equivalent.
    command(tmp_path, "import", "export.zip", "--data-dir", "imported")
    serving, client = serve(tmp_path / "imported")
    assert client.get(f"/threads/{thread}/runs/{run}/join").json()["log"] == [1, 2, 3]
    assert client.get(f"/threads/{late}").status_code == 200
    assert serving.end() == 0
    assert not list((tmp_path / "data").glob(".export-*"))


def _two_databases(data: Path) -> None:
    data.mkdir()
    for name in ("runstead.db", "checkpoints.db"):
        with closing(sqlite3.connect(data / name)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE numbers (number INTEGER)")
            connection.commit()


def test_backup_of_both_databases_is_consistent(tmp_path: Path) -> None:
    """The writer writes a number to the second file after the first, like a run after its checkpoint."""
    data = tmp_path / "data"
    _two_databases(data)
    over, written = threading.Event(), threading.Semaphore(0)

    def write() -> None:
        with (
            closing(sqlite3.connect(data / "checkpoints.db", timeout=30)) as first,
            closing(sqlite3.connect(data / "runstead.db", timeout=30)) as second,
        ):
            number = 0
            while not over.is_set():
                number += 1
                for connection in (first, second):
                    connection.execute("INSERT INTO numbers VALUES (?)", (number,))
                    connection.commit()
                written.release()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(10):
            # Some numbers further than the last time.
            assert all(written.acquire(timeout=WITHIN) for _ in range(5))
            back_up(data, tmp_path / f"{number}.zip")
    finally:
        over.set()
        writer.join()
    last = []
    for number in range(10):
        place = tmp_path / f"restored-{number}"
        place.mkdir()
        restore(tmp_path / f"{number}.zip", place)
        found = []
        for name in ("checkpoints.db", "runstead.db"):
            with closing(sqlite3.connect(place / name)) as connection:
                found.append(connection.execute("SELECT coalesce(max(number), 0) FROM numbers").fetchone()[0])
        assert found[0] - found[1] in (0, 1)
        last.append(found[0])
    assert last[-1] > last[0] > 0


def test_backup_that_is_damaged_foreign_or_hostile_is_refused(tmp_path: Path) -> None:
    data, place = tmp_path / "data", tmp_path / "place"
    _two_databases(data)
    place.mkdir()
    good = tmp_path / "good.zip"
    back_up(data, good)
    with pytest.raises(TransferError, match="is there already"):
        back_up(data, good)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(good.read_bytes()[:-200])
    with pytest.raises(FileUnusable):
        restore(cut, place)
    with zipfile.ZipFile(good) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    def changed(name: str, **values: bytes) -> Path:
        file = tmp_path / name
        with zipfile.ZipFile(file, "w") as archive:
            for member, content in {**members, **values}.items():
                archive.writestr(member, content)
        return file

    swapped = changed("swapped.zip", **{"runstead.db": members["runstead.db"][:-1] + b"x"})
    with pytest.raises(FileUnusable, match="does not match its hash"):
        restore(swapped, place)
    manifest = json.loads(members["manifest.json"])
    manifest["sizes"]["events/../../outside"] = 1
    with pytest.raises(FileUnusable, match="no part of a backup"):
        restore(changed("outside.zip", **{"manifest.json": json.dumps(manifest).encode()}), place)
    with pytest.raises(FileUnusable, match="not a backup"):
        restore(changed("other.zip", **{"manifest.json": b'{"format": "runstead-export"}'}), place)
    assert list(place.iterdir()) == []
    restore(good, place)
    with pytest.raises(TransferError, match=r"holds checkpoints\.db, runstead\.db already"):
        restore(good, place)


def test_directory_without_a_database_is_not_backed_up(tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="there is nothing in"):
        back_up(tmp_path, tmp_path / "file.zip")
    assert list(tmp_path.iterdir()) == []


def test_restore_is_refused_while_a_server_runs(tmp_path: Path) -> None:
    _two_databases(tmp_path / "data")
    back_up(tmp_path / "data", tmp_path / "kept.zip")
    with own_data_dir(tmp_path / "used"):
        said = command(tmp_path, "restore", "kept.zip", "--data-dir", "used", exit_code=1)
    assert "is in use" in said["error"]


async def test_migration_keeps_a_backup_copy(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    await first_release(data / "runstead.db")
    later = second_revision(tmp_path)
    found = await migrate_schema(load_settings({"data_dir": data}), later)
    assert (found.before, found.after, found.is_current) == (HEAD, SECOND, True)
    (copy,) = (data / "backups").iterdir()
    assert copy.name == f"before-{SECOND}-from-{HEAD}.zip"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with own_data_dir(tmp_path / "before") as before:
        restore(copy, before)
    with closing(sqlite3.connect(tmp_path / "before" / "runstead.db")) as connection:
        assert connection.execute("SELECT run_id FROM runs").fetchall() == [("r-1",)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
    # The next start migrates nothing, and copies nothing.
    await migrate_schema(load_settings({"data_dir": data}), later)
    assert len(list((data / "backups").iterdir())) == 1


async def test_migration_is_refused_when_no_backup_copy_can_be_written(tmp_path: Path) -> None:
    await first_release(tmp_path / "runstead.db")
    (tmp_path / "backups").write_text("no folder")
    with pytest.raises(StorageUnusable, match="a copy cannot be kept"):
        await migrate_schema(load_settings({"data_dir": tmp_path}), second_revision(tmp_path))
    with closing(sqlite3.connect(tmp_path / "runstead.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
