"""Databases whose values are encrypted, on either engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runstead.infra.encryption.keyring import Keyring
from runstead.infra.storage.database import Database
from runstead.infra.storage.sqlite import open_storage
from tests.servers.postgres import PostgresSchema
from tests.servers.sqlite import current


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    return Keyring([b"n" * 32], ["hidden", "title"])


@pytest.fixture(params=["sqlite", "postgres"])
async def encrypted(request: pytest.FixtureRequest, tmp_path: Path, keyring: Keyring) -> AsyncIterator[Database]:
    """An empty encrypting database; tests with this fixture run on either engine."""
    if request.param == "sqlite":
        async with open_storage(current(tmp_path / "runs.sqlite"), keyring) as database:
            yield database
    else:
        schema: PostgresSchema = request.getfixturevalue("postgres_schema")
        yield await schema.emptied(keyring)


@pytest.fixture
async def raw(encrypted: Database, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """The same database without decryption."""
    if request.node.callspec.params["encrypted"] == "sqlite":
        async with open_storage(tmp_path / "runs.sqlite") as database:
            yield database
    else:
        schema: PostgresSchema = request.getfixturevalue("postgres_schema")
        async with schema.opened() as database:
            yield database
