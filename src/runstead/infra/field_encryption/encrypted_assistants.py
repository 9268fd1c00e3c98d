"""An assistant store whose fields are encrypted by handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

from runstead.resources.assistants import (
    AssistantChange,
    AssistantDraft,
    AssistantFilter,
    AssistantRecord,
    AssistantSortField,
    AssistantStore,
    AssistantVersion,
)
from runstead.runtime.field_encryption import FieldCipher
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.types import AssistantId

from .decryption import unseal_each
from .json_fields import seal, unseal

_Described = TypeVar("_Described", AssistantRecord, AssistantVersion)
_Written = TypeVar("_Written", AssistantDraft, AssistantChange)
_MODEL: Final = "assistant"
_FIELDS: Final = ("metadata", "config", "context")


class EncryptedAssistantStore:
    """An AssistantStore that encrypts fields through handlers.

    The server's own entries for its graphs stay in plain text.
    """

    def __init__(self, inner: AssistantStore, cipher: FieldCipher) -> None:
        self._inner, self._cipher = inner, cipher

    async def register_graphs(
        self, graphs: Mapping[str, str | None], names: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        await self._inner.register_graphs(graphs, names)

    async def get(self, assistant_id: AssistantId) -> AssistantRecord | None:
        return await self._one(await self._inner.get(assistant_id))

    async def create(
        self,
        draft: AssistantDraft,
        *,
        assistant_id: AssistantId | None = None,
        if_exists: Literal["raise", "do_nothing"] = "raise",
    ) -> AssistantRecord:
        sealed = await self._sealed(draft)
        made = await self._inner.create(sealed, assistant_id=assistant_id, if_exists=if_exists)
        return (await self._unsealed([made]))[0]

    async def update(self, assistant_id: AssistantId, change: AssistantChange) -> AssistantRecord | None:
        return await self._one(await self._inner.update(assistant_id, await self._sealed(change)))

    async def delete(self, assistant_id: AssistantId) -> bool:
        return await self._inner.delete(assistant_id)

    async def search(
        self,
        where: AssistantFilter,
        *,
        sort_by: AssistantSortField = "created_at",
        sort_order: Literal["asc", "desc"] = "desc",
        limit: int = 10,
        offset: int = 0,
    ) -> Sequence[AssistantRecord]:
        found = await self._inner.search(where, sort_by=sort_by, sort_order=sort_order, limit=limit, offset=offset)
        return await self._unsealed(found)

    async def count(self, where: AssistantFilter) -> int:
        return await self._inner.count(where)

    async def versions(
        self, assistant_id: AssistantId, *, metadata: JsonMapping | None = None, limit: int = 10, offset: int = 0
    ) -> Sequence[AssistantVersion]:
        found = await self._inner.versions(assistant_id, metadata=metadata, limit=limit, offset=offset)
        return await self._unsealed(found)

    async def set_latest(self, assistant_id: AssistantId, version: int) -> AssistantRecord | None:
        return await self._one(await self._inner.set_latest(assistant_id, version))

    async def _one(self, record: AssistantRecord | None) -> AssistantRecord | None:
        return None if record is None else (await self._unsealed([record]))[0]

    async def _sealed(self, written: _Written) -> _Written:
        cipher = self._cipher

        async def work() -> list[Any]:
            return await asyncio.gather(*(seal(cipher, _MODEL, name, getattr(written, name)) for name in _FIELDS))

        return replace(written, **dict(zip(_FIELDS, await cipher.together(work), strict=True)))

    async def _unsealed(self, records: Sequence[_Described]) -> list[_Described]:
        table = "assistants" if records and isinstance(records[0], AssistantRecord) else "assistant_versions"
        return await unseal_each(self._cipher, table, records, _key, _unseal)


def _key(record: AssistantRecord | AssistantVersion) -> JsonObject:
    version = {"version": record.version} if isinstance(record, AssistantVersion) else {}
    return {"assistant_id": record.assistant_id, **version}


async def _unseal(cipher: FieldCipher, record: _Described) -> _Described:
    found = await asyncio.gather(*(unseal(cipher, _MODEL, name, getattr(record, name)) for name in _FIELDS))
    return replace(record, **dict(zip(_FIELDS, found, strict=True)))
