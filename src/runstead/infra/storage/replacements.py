"""Replace encrypted fields in their rows by re-encrypted ones that handlers returned: the same values, another key.

A field is found by its previous content. If that is gone, another transaction has written a new value, which stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Table, and_, select, update

from runstead.runtime.field_encryption import CONTEXT, Replacement
from runstead.runtime.json_types import JsonMapping, JsonObject

from . import json_text
from .database import Database
from .encrypted_types import EncryptedBytes, EncryptedMetadata, EncryptedText
from .schema import metadata

_DOCUMENTS: Final = (EncryptedText, EncryptedBytes, EncryptedMetadata)


class SqlReplacements:
    """Replaces fields of rows in a Database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def replace(self, table: str, key: JsonMapping, replaced: Sequence[Replacement]) -> None:
        """Replace fields in the row of ``table`` with this key. Does nothing if there is no such row."""

        def work(connection: Connection) -> None:
            _replace(connection, metadata.tables[table], key, replaced)

        await self._database.write(work)


def _replace(connection: Connection, table: Table, key: JsonMapping, replaced: Sequence[Replacement]) -> None:
    columns = [column for column in table.c if isinstance(column.type, _DOCUMENTS)]
    this = and_(*(table.c[name] == value for name, value in key.items()))
    row = connection.execute(select(*columns).where(this).with_for_update()).first()
    if row is None:
        return
    changed: JsonObject = {}
    for column, stored in zip(columns, row, strict=True):
        text = stored.decode() if isinstance(stored, bytes) else stored
        if text is None or CONTEXT not in text:
            continue
        before = json_text.load(text)
        if (after := with_replacements(before, replaced)) != before:
            made = json_text.dump(after)
            changed[column.name] = made.encode() if isinstance(stored, bytes) else made
    if changed:
        connection.execute(update(table).where(this).values(changed))


def with_replacements(value: object, replaced: Sequence[Replacement]) -> Any:
    """Return ``value`` with every object replaced that equals the old value of a replacement. Pure."""
    if isinstance(value, list):
        return [with_replacements(one, replaced) for one in value]
    if not isinstance(value, dict):
        return value
    value = {name: with_replacements(one, replaced) for name, one in value.items()}
    if CONTEXT in value:
        for before, after in replaced:
            # Parts of a field that are encrypted separately are beside it.
            if isinstance(before, Mapping) and all(value.get(name) == one for name, one in before.items()):
                return {**value, **after}
    return value
