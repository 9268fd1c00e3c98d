"""A run event store whose events are encrypted by handlers. The reference server has none, hence no field for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from runstead.runtime.field_encryption import FieldCipher
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.store import RunEvent, RunEventCategory, RunEventStore, StoredRunEvent
from runstead.runtime.runs.types import Holder, RunId, ThreadId
from runstead.runtime.serialization import jsonable

from .decryption import unseal_each
from .json_fields import is_sealed, seal, unseal
from .run_fields import RUN

_FIELD: Final = "event"


class EncryptedRunEventStore:
    """A RunEventStore that encrypts through handlers: content and metadata of an event are one value.

    Without ``encrypts`` it only decrypts: events are many, and something else encrypts them.
    """

    def __init__(self, inner: RunEventStore, cipher: FieldCipher, *, encrypts: bool = True) -> None:
        self._inner, self._cipher = inner, cipher
        self._encrypts = encrypts and cipher.encrypts_json

    async def append(self, events: Sequence[RunEvent], *, holder: Holder | None = None) -> Sequence[StoredRunEvent]:
        async def sealed() -> list[RunEvent]:
            return await asyncio.gather(*(_seal(self._cipher, event) for event in events))

        made = await self._cipher.together(sealed) if self._encrypts else events
        stored = await self._inner.append(made, holder=holder)
        return [replace(one, event=event) for one, event in zip(stored, events, strict=True)]

    async def list_events(
        self,
        thread_id: ThreadId,
        *,
        run_id: RunId | None = None,
        categories: Sequence[RunEventCategory] = (),
        event_types: Sequence[str] = (),
        after: int | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Sequence[StoredRunEvent]:
        found = await self._inner.list_events(
            thread_id,
            run_id=run_id,
            categories=categories,
            event_types=event_types,
            after=after,
            before=before,
            limit=limit,
        )
        return await unseal_each(self._cipher, "run_events", found, _key, _unseal)

    async def count_events(self, thread_id: ThreadId, *, categories: Sequence[RunEventCategory] = ()) -> int:
        return await self._inner.count_events(thread_id, categories=categories)

    async def delete_events(self, thread_id: ThreadId, *, run_id: RunId | None = None) -> int:
        return await self._inner.delete_events(thread_id, run_id=run_id)

    async def delete_threads(self, thread_ids: Sequence[ThreadId]) -> None:
        await self._inner.delete_threads(thread_ids)

    async def delete_before(self, cutoff: datetime) -> int:
        return await self._inner.delete_before(cutoff)


def _key(stored: StoredRunEvent) -> JsonObject:
    return {"thread_id": stored.event.thread_id, "seq": stored.seq}


async def _seal(cipher: FieldCipher, event: RunEvent) -> RunEvent:
    parts = {"content": jsonable(event.content), "metadata": jsonable(event.metadata)}
    return replace(event, content=await seal(cipher, RUN, _FIELD, parts), metadata={})


async def _unseal(cipher: FieldCipher, stored: StoredRunEvent) -> StoredRunEvent:
    if not is_sealed(stored.event.content):
        return stored
    return replace(stored, event=replace(stored.event, **await unseal(cipher, RUN, _FIELD, stored.event.content)))
