"""Encrypted checkpoints keep every guarantee of plain ones, and no part of a state is readable in the tables."""

from __future__ import annotations

import json
import pickle
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import Capability
from langgraph.checkpoint.serde.base import SerializerProtocol

from runstead.infra.checkpoints.driver import driver_of
from runstead.infra.checkpoints.encrypted import encrypted_serde
from runstead.infra.checkpoints.postgres import PostgresCheckpoints
from runstead.infra.checkpoints.serde import CheckpointSerializer
from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.checkpoints.store import SqlCheckpoints
from runstead.infra.encryption.cipher import CannotDecrypt
from runstead.infra.encryption.keyring import Keyring
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.testing.conformance.checkpoint_store import CheckpointStoreConformance
from tests.servers.postgres import PostgresSchema

SECRET = "canary-in-a-state"
PLACE: RunnableConfig = {"configurable": {"thread_id": "t-1", "checkpoint_ns": "", "colour": SECRET}}


def serde(*keys: bytes) -> SerializerProtocol:
    return encrypted_serde(CheckpointSerializer(), Keyring(keys or [b"k" * 32]))


@asynccontextmanager
async def checkpoints_on(
    engine: str, request: pytest.FixtureRequest, folder: Path, serde: SerializerProtocol | None
) -> AsyncIterator[SqlCheckpoints]:
    if engine == "sqlite":
        async with open_checkpoints(folder / "checkpoints.sqlite", serde=serde) as checkpoints:
            yield checkpoints
    else:
        schema: PostgresSchema = request.getfixturevalue("postgres_schema")
        yield PostgresCheckpoints(await schema.emptied(), serde=serde)


@pytest.fixture(params=["sqlite", "postgres"])
async def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlCheckpoints]:
    async with checkpoints_on(request.param, request, tmp_path, serde()) as checkpoints:
        yield checkpoints


@pytest.mark.parametrize("checkpoints", ["postgres"], indirect=True)
class TestEncryptedCheckpoints(CheckpointStoreConformance):
    pass


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_saver_passes_langgraphs_own_conformance_suite(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    @checkpointer_test(name=f"encrypted SqlCheckpointSaver on {engine}")
    async def our_saver() -> AsyncGenerator[BaseCheckpointSaver[Any], None]:
        with TemporaryDirectory(dir=tmp_path) as folder:
            async with checkpoints_on(engine, request, Path(folder), serde()) as checkpoints:
                yield checkpoints.saver

    report = await validate(our_saver)
    assert {name: result.failures for name, result in report.results.items() if result.failures} == {}
    assert {name for name, result in report.results.items() if result.passed} == {one.value for one in Capability}


async def put(checkpoints: SqlCheckpoints) -> None:
    """A checkpoint and a pending write with secrets in their values, their metadata and the undo records."""
    checkpoint = {**empty_checkpoint(), "id": "c-1", "channel_values": {"said": SECRET}}
    saved = await checkpoints.saver.aput(PLACE, checkpoint, {"source": "loop", "step": 7, "note": SECRET}, {})  # type: ignore[arg-type, typeddict-unknown-key]
    await checkpoints.mark(ThreadId("t-1"), RunId("r-1"))
    await checkpoints.saver.aput_writes(saved, [("said", SECRET), ("__error__", ValueError(SECRET))], "task-1")
    await checkpoints.saver.aput_writes(saved, [("__error__", ValueError(SECRET))], "task-1")


async def test_no_column_contains_an_unencrypted_value(checkpoints: SqlCheckpoints) -> None:
    await put(checkpoints)
    tables = ("checkpoints", "writes", "marks", "mark_checkpoints", "mark_writes")
    rows = await checkpoints._database.read(
        lambda connection: [
            [value if isinstance(value, str | int | None) else bytes(value) for value in row]
            for table in tables
            for row in driver_of(connection).execute(f"SELECT * FROM {table}").fetchall()
        ]
    )
    assert len(rows) >= 5
    assert SECRET.encode() not in pickle.dumps(rows)
    [metadata] = [row[6] for row in rows if len(row) == 9 and row[2] == "c-1" and isinstance(row[6], bytes)][:1]
    stored = json.loads(metadata)
    assert (stored["source"], stored["step"]) == ("loop", 7)
    assert set(stored) <= {"source", "step", "parents", "run_id", "thread_id", "__runstead_encrypted__"}


async def test_encrypted_checkpoint_is_read_back_unchanged(checkpoints: SqlCheckpoints) -> None:
    await put(checkpoints)
    found = await checkpoints.saver.aget_tuple(PLACE)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"said": SECRET}
    assert found.metadata["note"] == found.metadata["colour"] == SECRET  # type: ignore[typeddict-item]
    assert found.pending_writes
    assert all(SECRET in str(value) for _, _, value in found.pending_writes)
    assert [one async for one in checkpoints.saver.alist(PLACE, filter={"note": SECRET})]
    measured = await checkpoints.measure(ThreadId("t-1"))
    assert measured.count == 1


async def test_checkpoints_from_before_encryption_are_read_and_those_of_a_key_need_it(tmp_path: Path) -> None:
    file = tmp_path / "checkpoints.sqlite"
    async with open_checkpoints(file) as plain:
        await put(plain)
    async with open_checkpoints(file, serde=serde()) as encrypted:
        found = await encrypted.saver.aget_tuple(PLACE)
        assert found is not None
        assert found.checkpoint["channel_values"] == {"said": SECRET}
        await put(encrypted)
    async with open_checkpoints(file, serde=serde(b"w" * 32)) as wrong:
        with pytest.raises(CannotDecrypt, match="which is not configured"):
            await wrong.saver.aget_tuple(PLACE)
    async with open_checkpoints(file, serde=serde(b"w" * 32, b"k" * 32)) as rotated:
        assert await rotated.saver.aget_tuple(PLACE) is not None
