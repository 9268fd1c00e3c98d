"""Checkpoints of either engine that handlers encrypt, with or without additional keys of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from langgraph.checkpoint.serde.base import SerializerProtocol

from runstead.infra.checkpoints.encrypted import encrypted_serde
from runstead.infra.checkpoints.postgres import PostgresCheckpoints
from runstead.infra.checkpoints.serde import CheckpointSerializer
from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.infra.checkpoints.store import SqlCheckpoints
from runstead.infra.encryption.keyring import Keyring
from runstead.runtime.field_encryption import FieldCipher

from .postgres import PostgresSchema


@asynccontextmanager
async def checkpoints_on(
    engine: str, request: pytest.FixtureRequest, folder: Path, handled: FieldCipher, has_keys: bool
) -> AsyncIterator[SqlCheckpoints]:
    serde: SerializerProtocol | None = None
    if has_keys:
        serde = encrypted_serde(CheckpointSerializer(), Keyring([b"k" * 32]))
    if engine == "sqlite":
        async with open_checkpoints(folder / "checkpoints.sqlite", serde=serde, field_cipher=handled) as checkpoints:
            yield checkpoints
    else:
        schema: PostgresSchema = request.getfixturevalue("postgres_schema")
        yield PostgresCheckpoints(await schema.emptied(), serde=serde, field_cipher=handled)
