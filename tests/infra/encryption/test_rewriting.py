"""All values are re-encrypted with the first key, under concurrent writes; every column is encrypted or exempt."""

from __future__ import annotations

import asyncio
import json
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from sqlalchemy import Connection, LargeBinary, Table, select, update
from sqlalchemy import Text as AnyText

from runstead.infra.checkpoints.encrypted import encrypted_serde, read_metadata
from runstead.infra.checkpoints.serde import CheckpointSerializer
from runstead.infra.encryption.cipher import CannotDecrypt
from runstead.infra.encryption.envelope import seal_document
from runstead.infra.encryption.keyring import Keyring
from runstead.infra.key_rotation.recoding import PLAIN, encrypted_checkpoint_tables, encrypted_tables, recoded
from runstead.infra.key_rotation.rewriting import Usage, replaced, rewrite, usage_of
from runstead.infra.storage import checkpoint_tables
from runstead.infra.storage.column_types import is_of
from runstead.infra.storage.database import Database
from runstead.infra.storage.encrypted_types import EncryptedBytes, HashedText, use_cipher
from runstead.infra.storage.schema import metadata, runs
from runstead.infra.transfer.endpoints import data_dir_place
from runstead.infra.transfer.table_groups import moved_tables
from runstead.runtime.runs.types import ThreadId
from tests.servers.stores import stores_over
from tests.transfer.rows import Rows, any_rows, put

OLD, NEW = Keyring([b"o" * 32], ["title", "secret"]), Keyring([b"n" * 32, b"o" * 32], ["title", "secret"])
TABLES: Final = (*encrypted_tables(), *encrypted_checkpoint_tables())

# Compared, sorted or counted in SQL, or not user data. A new column has to be listed here, or to be encrypted.
IN_THE_CLEAR: Final = {
    "*": {
        "thread_id", "run_id", "assistant_id", "graph_id", "delivery_id", "cron_id", "key_id", "last_run_id",
        "tenant_id", "user_id", "status", "name", "checkpoint_id", "checkpoint_ns", "parent_checkpoint_id",
        "base_checkpoint_id", "final_checkpoint_id", "mark_run_id", "task_id", "task_path", "channel", "type",
    },
    "threads": {"resting"},
    "thread_ttls": {"strategy"},
    "thread_priorities": {"fairness_group"},
    "runs": {"worker", "stop_requested", "fairness_group"},
    "run_events": {"event_type", "category"},
    "api_keys": {"digest", "scopes"},
    "idempotency_keys": {"fingerprint"},
    "items": {"namespace", "key"},
    "item_vectors": {"namespace", "key", "embedder", "vector"},
    "crons": {"schedule", "timezone", "on_run_completed"},
    "feedback": {"message_id"},
    "approvals": {
        "approval_id", "interrupt_id", "state", "delegate_id", "decider_id", "answered_by", "answer_run_id",
    },
    "approval_events": {"approval_id", "kind", "actor_id"},
    "frame_archives": {"archive_id"},
    "frame_blocks": {"archive_id"},
    "run_usage": {"model", "provider", "caller", "day"},
    "budget_raises": {"budget"},
    "budget_notices": {"budget", "kind", "amount"},
    "end_notifications": {"reason"},
    # Details are digests where encryption is on.
    "audit_log": {
        "subject_id", "auth_source", "role", "client", "action", "route", "target", "details", "previous", "digest",
    },
    "channel_links": {"provider", "workspace", "chat_user_id", "subject_id"},
    "channel_codes": {"digest", "used_by"},
    "channel_conversations": {"provider", "workspace", "chat_id", "chat_user_id"},
    "channel_messages": {"provider", "workspace", "message_id", "chat_id", "chat_user_id"},
    "channel_leases": {"name", "holder"},
    "steering_messages": {"message_id", "task"},
    "checkpoint_identity": {"identity"},
    "sweeps": {"name", "position", "holder", "deleted"},
    "key_holders": {"holder_id", "key_ids"},
}  # fmt: skip


def unencrypted(table: Table) -> Iterator[str]:
    for column in table.c:
        is_text = is_of(column.type, AnyText) or is_of(column.type, LargeBinary)
        if is_text and not type(column.type).__name__.startswith(("Encrypted", "Hashed")):
            yield column.name


def test_every_column_is_encrypted_or_has_a_reason_not_to_be() -> None:
    for table in (*metadata.sorted_tables, *checkpoint_tables.metadata.sorted_tables):
        allowed = IN_THE_CLEAR["*"] | IN_THE_CLEAR.get(table.name, set())
        if table.metadata is checkpoint_tables.metadata:
            allowed = allowed | {"checkpoint", "value", "metadata"}
        assert set(unencrypted(table)) <= allowed, f"{table.name} has columns that are neither encrypted nor excused"


def stored(connection: Connection, tables: Sequence[Table]) -> dict[str, list[dict[str, Any]]]:
    """All rows of the tables, as the connection sees them."""
    return {
        table.name: sorted(
            (
                {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row._mapping.items()}
                for row in connection.execute(select(*table.c))
            ),
            key=repr,
        )
        for table in tables
    }


def utf8(rows: Rows) -> Rows:
    """Rows as servers write them: bytes of encrypted columns are JSON, documents are objects."""
    by_name = {table.name: table for table in moved_tables()}

    def fitting(table: Table, row: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = {
            column.name: b'{"canary":1}'
            for column in table.c
            if isinstance(column.type, EncryptedBytes) and row[column.name] is not None
        }
        if table.name == "runs":
            changed["spec"] = '{"graph_id":"agent","input":"canary"}'
        if "metadata" in table.c:
            text = '{"title":"canary","colour":"red","secret":["canary"]}'
            changed["metadata"] = text.encode() if is_of(table.c.metadata.type, LargeBinary) else text
        if "checkpoint" in table.c or ("value" in table.c and "type" in table.c):
            name = "checkpoint" if "checkpoint" in table.c else "value"
            changed["type"], changed[name] = CheckpointSerializer().dumps_typed({"said": "canary"})
        return {**row, **changed}

    return {name: [fitting(by_name[name], dict(row)) for row in some] for name, some in rows.items()}


@settings(max_examples=8, suppress_health_check=list(HealthCheck), phases=[Phase.generate], deadline=None)
@given(rows=any_rows)
def test_any_stored_value_is_encrypted_rewritten_and_read_unchanged(rows: Rows) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_rewritten_twice(utf8(rows), Path(folder)))


async def _rewritten_twice(rows: Rows, folder: Path) -> None:
    async with data_dir_place(folder / "data", making=True) as place:
        await place.database.write(lambda connection: put(connection, rows))
        before = await place.database.read(lambda connection: stored(connection, TABLES))
    for cipher, keys in ((OLD, {OLD.key_id}), (NEW, {NEW.key_id}), (NEW, {NEW.key_id})):
        async with data_dir_place(folder / "data", making=True) as place:
            await rewrite(place.database, TABLES, cipher, lambda *_: None)
            usage = Usage()
            await usage_of(place.database, TABLES, cipher, usage)
            assert set(usage.by_key) <= keys
            raw = await place.database.read(lambda connection: stored(connection, TABLES))
            assert b"canary" not in pickle.dumps(raw)
    assert await changes(folder, NEW) == 0
    assert await plain(folder, NEW) == hashed(before, NEW)


async def changes(folder: Path, cipher: Keyring) -> int:
    async with data_dir_place(folder / "data", making=True) as place:
        return await rewrite(place.database, TABLES, cipher, lambda *_: None)


async def plain(folder: Path, cipher: Keyring) -> dict[str, list[dict[str, Any]]]:
    """The values that stores and savers read with the keys."""
    async with data_dir_place(folder / "data", making=True) as place:
        use_cipher(place.database.dialect, cipher)  # type: ignore[attr-defined]
        found = await place.database.read(lambda connection: stored(connection, TABLES))
    serde = encrypted_serde(CheckpointSerializer(), cipher)
    for table in encrypted_checkpoint_tables():
        for row in found[table.name]:
            name = "checkpoint" if "checkpoint" in table.c else "value"
            row["type"], row[name] = CheckpointSerializer().dumps_typed(serde.loads_typed((row["type"], row[name])))
            if "metadata" in row and row["metadata"] is not None:
                row["metadata"] = read_metadata(serde, row["metadata"])
    return {name: sorted(some, key=repr) for name, some in found.items()}


def hashed(rows: dict[str, list[dict[str, Any]]], cipher: Keyring) -> dict[str, list[dict[str, Any]]]:
    """The expected rows: idempotency keys are hashes, metadata of checkpoints are JSON."""
    for row in rows["idempotency_keys"]:
        row["key"] = HashedText().sealer(cipher)(row["key"])
    for name in ("checkpoints", "mark_checkpoints"):
        for row in rows[name]:
            row["metadata"] = None if row["metadata"] is None else json.loads(row["metadata"])
    return {name: sorted(some, key=repr) for name, some in rows.items()}


async def test_value_changed_since_it_was_read_is_not_overwritten(encrypted: Database, raw: Database) -> None:
    run = await stores_over(raw).accept(ThreadId("t-1"))
    read = await raw.read(lambda connection: dict(connection.execute(select(*runs.c)).one()._mapping))
    changed = recoded(NEW, runs, read)
    stale = {**read, "spec": "as it was some time ago"}
    assert await raw.write(lambda connection: replaced(connection, runs, stale, changed)) == 0
    assert await raw.read(lambda connection: connection.execute(select(runs.c.spec)).scalar_one()) == read["spec"]
    assert await raw.write(lambda connection: replaced(connection, runs, read, changed)) == 1
    spec = await encrypted.read(lambda connection: connection.execute(select(runs.c.spec)).scalar_one())
    assert (spec, run.spec.graph_id in spec) == (read["spec"], True)


async def test_servers_read_and_write_while_values_are_rewritten(encrypted: Database, raw: Database) -> None:
    plain = stores_over(raw)
    for number in range(120):
        await plain.accept(ThreadId(f"t-{number}"))
    server = stores_over(encrypted)
    usage = Usage()
    await usage_of(raw, encrypted_tables(), NEW, usage)
    assert usage.by_key[PLAIN] > 200
    rewriting = asyncio.create_task(rewrite(raw, encrypted_tables(), NEW, lambda *_: None))
    for number in range(120):
        await server.accept(ThreadId(f"new-{number}"))
    await rewriting
    after = Usage()
    await usage_of(raw, encrypted_tables(), NEW, after)
    assert set(after.by_key) == {NEW.key_id}
    assert len(await encrypted.read(lambda connection: connection.execute(select(runs.c.run_id)).all())) == 240


async def test_value_of_a_missing_key_is_named_and_kept(raw: Database) -> None:
    await stores_over(raw).accept(ThreadId("t-1"))
    foreign = seal_document(Keyring([b"f" * 32]), "{}", "runs.spec", {"graph_id": "agent"})
    await raw.write(lambda connection: connection.execute(update(runs).values(spec=foreign)).rowcount)
    with pytest.raises(CannotDecrypt, match="which is not configured"):
        await rewrite(raw, [runs], NEW, lambda *_: None)
    [(spec,)] = await raw.read(lambda connection: connection.execute(select(runs.c.spec)).all())
    assert spec == foreign
