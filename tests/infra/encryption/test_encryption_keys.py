"""A database records the keys of its values, so that a wrong key is one error at startup and none later."""

from __future__ import annotations

import pytest

from runstead.infra.encryption.keyring import Keyring, key_id_of_key
from runstead.infra.storage.database import Database
from runstead.infra.storage.encryption_keys import check_encryption_keys, forget_keys, recorded_keys
from runstead.resources.storage_errors import StorageUnusable

OLD, NEW = b"o" * 32, b"n" * 32


async def test_without_keys_nothing_is_recorded(database: Database) -> None:
    await check_encryption_keys(database, None, "here")
    assert await database.read(recorded_keys) == frozenset()


async def test_database_of_another_key_is_refused(database: Database) -> None:
    await check_encryption_keys(database, Keyring([OLD]), "here")
    with pytest.raises(StorageUnusable, match=f"here has .* with the key {key_id_of_key(OLD)}; those .* are "):
        await check_encryption_keys(database, Keyring([NEW]), "here")
    with pytest.raises(StorageUnusable, match="no key is configured"):
        await check_encryption_keys(database, None, "here")
    assert await database.read(recorded_keys) == {key_id_of_key(OLD)}


async def test_both_keys_are_needed_until_the_old_one_is_removed(database: Database) -> None:
    await check_encryption_keys(database, Keyring([OLD]), "here")
    await check_encryption_keys(database, Keyring([NEW, OLD]), "here")
    with pytest.raises(StorageUnusable):
        await check_encryption_keys(database, Keyring([NEW]), "here")
    await database.write(lambda connection: forget_keys(connection, [key_id_of_key(OLD)]))
    await check_encryption_keys(database, Keyring([NEW]), "here")
