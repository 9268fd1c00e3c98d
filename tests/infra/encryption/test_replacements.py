"""Values that handlers re-encrypt while reading are stored, on either engine, unless they were changed meanwhile."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph_sdk import DecryptResult, Encryption, EncryptionContext

from runstead.handlers.encryption import LangGraphEncryption
from runstead.infra.checkpoints.store import SqlCheckpoints
from runstead.infra.field_encryption.encrypted_threads import EncryptedThreadStore
from runstead.infra.storage.database import Database
from runstead.infra.storage.replacements import SqlReplacements, with_replacements
from runstead.infra.storage.threads import SqlThreadStore
from runstead.runtime.actor_context import acting
from runstead.runtime.field_encryption import CONTEXT
from runstead.runtime.runs.types import ThreadId
from runstead.runtime.user_code.user_loop import UserLoop
from runstead.testing.clock import ManualClock
from runstead.testing.conformance.run_storage import ALICE
from tests.servers.handled_checkpoints import checkpoints_on

KEYS = ["1"]
"""The usable keys; the first one is that of new values."""
_NUMBERS = iter(range(10**9))


def closed(data: bytes) -> bytes:
    """``data`` under the first key, with a different result each time."""
    return base64.b64encode(f"{KEYS[0]} {next(_NUMBERS)} ".encode() + data)


def opened(data: bytes) -> tuple[bytes, bool]:
    """Decrypt a value, and report whether its key was an older one."""
    key, _, plain = base64.b64decode(data).split(b" ", 2)
    if key.decode() not in KEYS:
        raise KeyError(key)
    return plain, key.decode() != KEYS[0]


def rotating_encryption() -> Encryption:
    encryption = Encryption()

    @encryption.encrypt.json
    async def encrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> dict[str, Any]:
        return {key: closed(json.dumps(value).encode()).decode() for key, value in data.items()}

    @encryption.decrypt.json
    async def decrypt_json(ctx: EncryptionContext, data: dict[str, Any]) -> Any:
        found = {key: opened(value.encode()) for key, value in data.items() if key not in KEPT}
        kept = {key: value for key, value in data.items() if key in KEPT}
        plain = {**kept, **{key: json.loads(value) for key, (value, _) in found.items()}}
        if not any(is_old for _, is_old in found.values()):
            return plain
        again = await encrypt_json(ctx, {key: plain[key] for key in found})
        return DecryptResult(plain, {**kept, **again})

    @encryption.encrypt.blob
    async def encrypt_blob(ctx: EncryptionContext, blob: bytes) -> bytes:
        return closed(blob)

    @encryption.decrypt.blob
    async def decrypt_blob(ctx: EncryptionContext, blob: bytes) -> Any:
        plain, is_old = opened(blob)
        return DecryptResult(plain, closed(plain)) if is_old else plain

    return encryption


@pytest.fixture
async def rotating() -> AsyncIterator[LangGraphEncryption]:
    """Handlers whose key is ``KEYS[0]``."""
    async with UserLoop.running() as user_loop:
        yield LangGraphEncryption(rotating_encryption(), user_loop)
    KEYS[:] = ["1"]


async def test_field_is_replaced_in_its_row(encrypted: Database, rotating: LangGraphEncryption) -> None:
    rotating.replacements = SqlReplacements(encrypted)
    stored = SqlThreadStore(encrypted, ManualClock())
    threads = EncryptedThreadStore(stored, rotating)
    with acting(replace(ALICE, encryption={"tenant": "acme"})):
        made = await threads.create(
            ThreadId("t-1"), metadata={"note": "n", "colour": "red"}, config={"configurable": {"a": 1}}
        )
        first = await stored.get(ThreadId("t-1"))
        KEYS[:] = ["2", "1"]
        assert await threads.get(ThreadId("t-1")) == made
        second = await stored.get(ThreadId("t-1"))
        assert first is not None
        assert second is not None
        assert first.metadata["note"] != second.metadata["note"]
        assert first.config["configurable"]["a"] != second.config["configurable"]["a"]
        assert second.metadata[CONTEXT] == {"tenant": "acme"}
        assert second.updated_at == first.updated_at
        KEYS[:] = ["2"]
        assert await threads.get(ThreadId("t-1")) == made


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
@pytest.mark.parametrize("has_keys", [False, True])
async def test_checkpoints_and_their_writes_are_replaced(
    engine: str, has_keys: bool, request: pytest.FixtureRequest, tmp_path: Any, rotating: LangGraphEncryption
) -> None:
    async with checkpoints_on(engine, request, tmp_path, rotating, has_keys) as checkpoints:
        await put(checkpoints)
        place: Any = {"configurable": {"thread_id": "t-1", "checkpoint_ns": ""}}
        before = await checkpoints.saver.aget_tuple(place)
        KEYS[:] = ["2", "1"]
        assert [found async for found in checkpoints.saver.alist(place)] == [before]
        KEYS[:] = ["2"]
        assert await checkpoints.saver.aget_tuple(place) == before
        assert before is not None
        assert before.metadata["note"] == "n"  # type: ignore[typeddict-item]
        assert before.pending_writes == [("task", "said", "written")]


KEPT = {"source", "step", "thread_id", "run_id"}
"""Keys of a checkpoint's metadata that are not given to handlers."""


async def put(checkpoints: SqlCheckpoints) -> None:
    place: Any = {"configurable": {"thread_id": "t-1", "checkpoint_ns": ""}}
    checkpoint: Any = {**empty_checkpoint(), "id": "c-1", "channel_values": {"said": "secret"}}
    metadata: Any = {"source": "loop", "step": 1, "note": "n"}
    saved = await checkpoints.saver.aput(place, checkpoint, metadata, {})
    await checkpoints.saver.aput_writes(saved, [("said", "written")], "task")


def test_value_changed_concurrently_is_not_replaced() -> None:
    before, after = {"a": "old", CONTEXT: {}}, {"a": "new", CONTEXT: {}}
    part = {"b": "part", CONTEXT: {}}
    assert with_replacements({**before, "part": part}, [(before, after)]) == {**after, "part": part}
    assert with_replacements([{"x": before}], [(before, after)]) == [{"x": after}]
    changed = {"a": "changed", CONTEXT: {}}
    assert with_replacements(changed, [(before, after)]) == changed
    assert with_replacements({"a": "old"}, [(before, after)]) == {"a": "old"}
