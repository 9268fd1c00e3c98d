"""Encryption of item values through handlers; the store calls it outside its transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from runstead.infra.storage.items.queries import Place
from runstead.runtime.field_encryption import FieldCipher
from runstead.runtime.json_types import JsonObject

from .decryption import unseal_each
from .json_fields import seal, unseal

_MODEL: Final = "store"
_FIELD: Final = "value"


class EncryptedItemValues:
    """The ItemValues of a store whose items are encrypted by handlers."""

    def __init__(self, cipher: FieldCipher) -> None:
        self._cipher = cipher

    async def stored(self, values: Sequence[JsonObject]) -> list[JsonObject]:
        """Return the stored form of the values. Raises ReservedKey, EncryptionFailed."""

        async def work() -> list[Any]:
            return await asyncio.gather(*(seal(self._cipher, _MODEL, _FIELD, value) for value in values))

        made: list[JsonObject] = await self._cipher.together(work)
        return made

    async def read(self, places: Sequence[Place], values: Sequence[JsonObject]) -> list[JsonObject]:
        """Return the decrypted values that are stored at ``places``. Raises EncryptionFailed."""
        rows = list(zip(places, values, strict=True))
        return [value for _, value in await unseal_each(self._cipher, "items", rows, _key, _unseal)]


_Row: TypeAlias = tuple[Place, JsonObject]


def _key(row: _Row) -> JsonObject:
    namespace, key = row[0]
    return {"namespace": namespace, "key": key}


async def _unseal(cipher: FieldCipher, row: _Row) -> _Row:
    return row[0], await unseal(cipher, _MODEL, _FIELD, row[1])
