"""Values of items through handlers: the store asks for it beside its transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from runstead.runtime.field_encryption import FieldCipher

from .json_fields import seal, unseal

_MODEL: Final = "store"
_FIELD: Final = "value"


class EncryptedItemValues:
    """The ItemValues of a store whose items handlers encrypt."""

    def __init__(self, cipher: FieldCipher) -> None:
        self._cipher = cipher

    async def stored(self, values: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the values as they are stored. Raises ReservedKey, EncryptionFailed."""

        async def work() -> list[Any]:
            return await asyncio.gather(*(seal(self._cipher, _MODEL, _FIELD, value) for value in values))

        made: list[dict[str, Any]] = await self._cipher.together(work)
        return made

    async def read(self, values: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what is behind stored values. Raises EncryptionFailed."""

        async def work() -> list[Any]:
            return await asyncio.gather(*(unseal(self._cipher, _MODEL, _FIELD, value) for value in values))

        made: list[dict[str, Any]] = await self._cipher.together(work)
        return made
