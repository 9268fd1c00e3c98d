"""The checkpoint file of an embedded server must belong to its runs, or the server does not start."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runstead.infra.checkpoints.identity import check_pair
from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.storage_errors import StorageUnusable
from runstead.testing.conformance.checkpoint_store import write_checkpoints
from tests.transfer.samples import insert_run, insert_thread


@asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[None]:
    async with open_storage(folder / "runstead.db") as runs, open_checkpoints(folder / "checkpoints.db") as checkpoints:
        await check_pair(runs, checkpoints.database, folder / "checkpoints.db")
        yield


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A data directory with a thread whose last run left checkpoint c-2."""
    async with _opened(tmp_path):
        pass
    async with open_storage(tmp_path / "runstead.db") as runs, open_checkpoints(tmp_path / "checkpoints.db") as store:
        await runs.write(lambda connection: insert_thread(connection, "t-1", steps=0))
        await runs.write(lambda connection: insert_run(connection, "r-1", thread_id="t-1", final_checkpoint_id="c-2"))
        await write_checkpoints(store, "c-1", run_id="r-0")
        await write_checkpoints(store, "c-2", run_id="r-1")
    return tmp_path


async def test_pair_opens_again(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with _opened(folder):
        pass
    assert caplog.records == []


@pytest.mark.parametrize("lost", ["missing", "empty"])
async def test_missing_checkpoint_file_is_an_error_that_names_it(folder: Path, lost: str) -> None:
    (folder / "checkpoints.db").unlink()
    if lost == "empty":
        (folder / "checkpoints.db").touch()
    for _ in range(2):
        with pytest.raises(StorageUnusable, match=r"checkpoints\.db is missing or empty, but 1 threads .* backup"):
            async with _opened(folder):
                pass


async def test_checkpoint_file_of_another_server_is_an_error_that_names_it(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with _opened(other):
        pass
    (other / "checkpoints.db").replace(folder / "checkpoints.db")
    with pytest.raises(StorageUnusable, match=r"checkpoints\.db belongs to another database"):
        async with _opened(folder):
            pass


async def test_missing_checkpoint_file_is_created_if_no_thread_has_a_state(tmp_path: Path) -> None:
    async with _opened(tmp_path):
        pass
    (tmp_path / "checkpoints.db").unlink()
    async with _opened(tmp_path):
        pass


async def test_start_logs_runs_whose_final_state_is_missing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with sqlite3.connect(folder / "checkpoints.db") as connection:
        connection.execute("DELETE FROM checkpoints WHERE checkpoint_id = 'c-2'")
    connection.close()
    with caplog.at_level(logging.ERROR):
        async with _opened(folder):
            pass
    assert "the final state of 1 runs is not in" in caplog.text
    assert "run r-1 of thread t-1" in caplog.text
