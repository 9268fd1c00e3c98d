"""Detect the key of each stored value of a row, and re-encrypt values with the current key.

Works on raw values: on connections whose dialect has no cipher. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Table

from runstead.infra.checkpoints.encrypted import METADATA, NAME, VALUE, sealed_metadata
from runstead.infra.encryption.cipher import Cipher
from runstead.infra.encryption.envelope import open_document, sealed_bytes, sealed_value_bytes
from runstead.infra.storage import checkpoint_tables
from runstead.runtime.json_types import JsonMapping, JsonObject

from ..storage import json_text
from ..storage.encrypted_types import EncryptedBlob, EncryptedBytes, EncryptedMetadata, EncryptedText, HashedText
from ..storage.schema import metadata

PLAIN: Final = ""
"""Stands for the key of a value that should be encrypted and is not."""
_SUFFIX: Final = f"+{NAME}"
_HASHED: Final = "sha256:"


def encrypted_tables() -> list[Table]:
    """Return the tables of the main database that have encrypted columns."""
    return [table for table in metadata.sorted_tables if any(_is_encrypted(column.type) for column in table.c)]


def encrypted_checkpoint_tables() -> list[Table]:
    """Return the encrypted tables of checkpoints, which SQLite has in a separate file."""
    return [table for table in checkpoint_tables.metadata.sorted_tables if "type" in table.c]


def keys_of(cipher: Cipher, table: Table, row: JsonMapping) -> Iterator[str]:
    """Yield the key id of each encrypted value of a row; PLAIN for a value that is not encrypted."""
    if table.metadata is checkpoint_tables.metadata:
        yield from _checkpoint_keys(cipher, table, row)
        return
    for column in table.c:
        value = row[column.name]
        if value is None or isinstance(column.type, HashedText) or not _is_encrypted(column.type):
            continue
        if isinstance(column.type, EncryptedMetadata):
            yield from _metadata_keys(cipher, value)
        elif isinstance(column.type, EncryptedBlob):
            yield _key_id(cipher, bytes(value))
        else:
            yield _key_id(cipher, sealed_bytes(_text(value)))


def recoded(cipher: Cipher, table: Table, row: JsonMapping) -> JsonObject:
    """Return the columns of a row that change when all of its values are encrypted with the current key.

    Raises CannotDecrypt.
    """
    if table.metadata is checkpoint_tables.metadata:
        return _recoded_checkpoint(cipher, table, row)
    changed: JsonObject = {}
    for column in table.c:
        value, kind = row[column.name], column.type
        if value is None:
            continue
        if isinstance(kind, HashedText):
            if not value.startswith(_HASHED):
                changed[column.name] = kind.sealer(cipher)(value)
        elif isinstance(kind, EncryptedMetadata):
            if any(key != cipher.key_id for key in _metadata_keys(cipher, value)):
                changed[column.name] = kind.sealer(cipher)(kind.opener(cipher)(value))
        elif isinstance(kind, EncryptedBlob):
            if _key_id(cipher, bytes(value)) != cipher.key_id:
                changed[column.name] = kind.sealer(cipher)(kind.opener(cipher)(value))
        elif not isinstance(kind, EncryptedText | EncryptedBytes):
            continue
        elif _key_id(cipher, sealed_bytes(_text(value))) != cipher.key_id:
            changed[column.name] = kind.sealer(cipher)(kind.opener(cipher)(value))
    return changed


def _is_encrypted(kind: object) -> bool:
    return isinstance(kind, EncryptedText | EncryptedBytes | EncryptedBlob | EncryptedMetadata | HashedText)


def _key_id(cipher: Cipher, sealed: bytes | None) -> str:
    return PLAIN if sealed is None else (cipher.key_id_of(sealed) or PLAIN)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else bytes(value).decode("utf-8", "surrogatepass")


def _metadata_keys(cipher: Cipher, text: str) -> Iterator[str]:
    found = json_text.load(text)
    for name, value in found.items() if isinstance(found, dict) else ():
        if (sealed := sealed_value_bytes(value)) is not None:
            yield _key_id(cipher, sealed)
        elif name in cipher.json_keys and value is not None:
            yield PLAIN


def _checkpoint_keys(cipher: Cipher, table: Table, row: JsonMapping) -> Iterator[str]:
    name = _value_column(table)
    if row["type"] is not None and row[name] is not None:
        is_sealed = row["type"].endswith(_SUFFIX)
        yield _key_id(cipher, bytes(row[name])) if is_sealed else PLAIN
    if "metadata" in table.c and row["metadata"] is not None:
        yield _key_id(cipher, sealed_bytes(_text(row["metadata"])))


def _recoded_checkpoint(cipher: Cipher, table: Table, row: JsonMapping) -> JsonObject:
    changed: JsonObject = {}
    name, kind = _value_column(table), row["type"]
    if kind is not None and row[name] is not None:
        value = bytes(row[name])
        if not kind.endswith(_SUFFIX):
            changed = {"type": kind + _SUFFIX, name: cipher.encrypt(value, VALUE)}
        elif cipher.key_id_of(value) != cipher.key_id:
            changed = {name: cipher.encrypt(cipher.decrypt(value, VALUE), VALUE)}
    if "metadata" in table.c and row["metadata"] is not None:
        text = _text(row["metadata"])
        if _key_id(cipher, sealed_bytes(text)) != cipher.key_id:
            changed["metadata"] = sealed_metadata(cipher, open_document(cipher, text, METADATA)).encode()
    return changed


def _value_column(table: Table) -> str:
    return "checkpoint" if "checkpoint" in table.c else "value"
