"""Decrypt records together, and store the replacements that their handlers return."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from runstead.resources.storage_errors import StorageError
from runstead.runtime.field_encryption import FieldCipher, Replacement, collect_replacements
from runstead.runtime.json_types import JsonMapping

T = TypeVar("T")
_log = logging.getLogger(__name__)


async def unseal_each(
    cipher: FieldCipher,
    table: str,
    rows: Sequence[T],
    key: Callable[[T], JsonMapping],
    unseal: Callable[[FieldCipher, T], Awaitable[T]],
) -> list[T]:
    """Return the decrypted ``rows`` of a table. Raises EncryptionFailed."""

    async def one(row: T) -> tuple[T, list[Replacement]]:
        # Each of them is a task with a context of its own.
        replaced = collect_replacements()
        return await unseal(cipher, row), replaced

    async def work() -> list[tuple[T, list[Replacement]]]:
        return await asyncio.gather(*map(one, rows))

    found = await cipher.together(work) if rows else []
    if cipher.replacements is not None:
        for row, (_, replaced) in zip(rows, found, strict=True):
            if not replaced:
                continue
            try:
                await cipher.replacements.replace(table, key(row), replaced)
            except StorageError as error:
                _log.warning("a value of %s was not re-encrypted: %s", table, error)
    return [plain for plain, _ in found]
