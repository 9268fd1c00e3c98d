"""Record of the keys that a database's values are encrypted with, so that a wrong key is detected at start.

The id of a key is recorded before anything is encrypted with it, and removed when no value uses the key any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, delete, select

from runstead.infra.encryption.cipher import Cipher
from runstead.resources.storage_errors import StorageUnusable

from .database import Database
from .dialect import add_unless_there
from .schema import encryption_keys

HANDLERS: Final = "handlers"
"""Recorded in a database that has values encrypted by handlers of langgraph.json."""


async def check_encryption_keys(
    database: Database, cipher: Cipher | None, place: str, *, has_handlers: bool = False
) -> None:
    """Record the key that ``cipher`` encrypts with, and refuse a database with values of an unknown key.

    ``has_handlers``: handlers encrypt too. Without them, a database with values encrypted by handlers is refused.
    Raises StorageUnusable.
    """
    recorded = await database.read(_all_recorded)
    if problem := keys_problem(recorded, cipher, place, has_handlers=has_handlers):
        raise StorageUnusable(problem)
    needed = {*([] if cipher is None else [cipher.key_id]), *([HANDLERS] if has_handlers else [])}
    if new := sorted(needed - recorded):
        await database.write(lambda connection: _record(connection, new))


async def missing_key(database: Database, cipher: Cipher | None, *, has_handlers: bool) -> str | None:
    """Return which key of the data a running server lacks, and the way out; None if it has all. Raises StorageError."""
    return keys_problem(await database.read(_all_recorded), cipher, "the database", has_handlers=has_handlers)


def keys_problem(recorded: frozenset[str], cipher: Cipher | None, place: str, *, has_handlers: bool) -> str | None:
    """Return why a server must not start on a database with these records; None if it may."""
    if HANDLERS in recorded and not has_handlers:
        return (
            f"{place} has values that the handlers of a langgraph.json have encrypted, and there are none now; name "
            'them again: {"encryption": {"path": "./encryption.py:encryption"}}'
        )
    known = frozenset[str]() if cipher is None else cipher.key_ids
    missing = sorted(recorded - known - {HANDLERS})
    return _refusal(place, missing, sorted(known)) if missing else None


def needs_of(recorded: frozenset[str]) -> str | None:
    """Return a description of the keys and handlers needed to read a database with these records; None if none are."""
    keys = sorted(recorded - {HANDLERS})
    needs = [f"the key {', '.join(keys)}"] if keys else []
    needs += ["the encryption handlers of its langgraph.json"] if HANDLERS in recorded else []
    return " and ".join(needs) or None


def recorded_keys(connection: Connection) -> frozenset[str]:
    """Return the ids of the keys that values may be encrypted with."""
    return _all_recorded(connection) - {HANDLERS}


def has_handled_values(connection: Connection) -> bool:
    """Return whether handlers may have encrypted values."""
    return HANDLERS in _all_recorded(connection)


def _record(connection: Connection, key_ids: Iterable[str]) -> None:
    for key_id in key_ids:
        add_unless_there(connection, encryption_keys, {"key_id": key_id})


def _all_recorded(connection: Connection) -> frozenset[str]:
    return frozenset(connection.execute(select(encryption_keys.c.key_id)).scalars())


def forget_keys(connection: Connection, key_ids: Iterable[str]) -> None:
    """Remove the records of keys that no value is encrypted with any more."""
    connection.execute(delete(encryption_keys).where(encryption_keys.c.key_id.in_(list(key_ids)))).close()


def _refusal(place: str, missing: list[str], known: list[str]) -> str:
    has = f"; those that are configured are {', '.join(known)}" if known else "; no key is configured"
    return (
        f"{place} has values that are encrypted with the key {', '.join(missing)}{has}. Add the missing key to "
        "encryption_keys (or encryption_keys_file, or LANGGRAPH_AES_KEY)"
    )
