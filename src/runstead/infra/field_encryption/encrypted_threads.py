"""A thread store whose fields are encrypted by handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from runstead.infra.storage.thread_status import TITLE_LENGTH
from runstead.resources.threads import (
    SortOrder,
    ThreadFilter,
    ThreadRecord,
    ThreadSortField,
    ThreadStore,
    ThreadTtl,
    changed_title,
)
from runstead.runtime.actor_context import acting, require_actor_context
from runstead.runtime.field_encryption import FieldCipher
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.types import NO_INTERRUPTS, ThreadId, ThreadOutcome

from .decryption import unseal_each
from .json_fields import seal, seal_bytes, unseal, unseal_bytes
from .run_fields import THREAD, seal_actor, seal_failure, seal_questions


class EncryptedThreadStore:
    """A ThreadStore that encrypts fields through handlers.

    Filters compare stored values: only values that handlers leave in plain text can be searched for.
    """

    def __init__(self, inner: ThreadStore, cipher: FieldCipher) -> None:
        self._inner, self._cipher = inner, cipher

    async def create(
        self,
        thread_id: ThreadId | None = None,
        *,
        metadata: JsonMapping | None = None,
        config: JsonMapping | None = None,
        ttl: ThreadTtl | None = None,
        if_exists: Literal["raise", "do_nothing"] = "raise",
    ) -> ThreadRecord:
        described, configured = await self._sealed({"metadata": metadata, "config": config})
        made = await self._inner.create(thread_id, metadata=described, config=configured, ttl=ttl, if_exists=if_exists)
        return (await self._unsealed([made]))[0]

    async def get(self, thread_id: ThreadId) -> ThreadRecord | None:
        return await self._one(await self._inner.get(thread_id))

    async def get_ttl(self, thread_id: ThreadId) -> ThreadTtl | None:
        return await self._inner.get_ttl(thread_id)

    async def update(
        self, thread_id: ThreadId, *, metadata: JsonMapping, ttl: ThreadTtl | None = None
    ) -> ThreadRecord | None:
        [described] = await self._sealed({"metadata": metadata})
        return await self._one(await self._inner.update(thread_id, metadata=described, ttl=ttl))

    async def delete(self, thread_id: ThreadId) -> bool:
        return await self._inner.delete(thread_id)

    async def search(
        self,
        where: ThreadFilter,
        *,
        sort_by: ThreadSortField = "updated_at",
        sort_order: SortOrder = "desc",
        limit: int = 10,
        offset: int = 0,
        values_bytes: int | None = None,
    ) -> Sequence[ThreadRecord]:
        found = await self._inner.search(
            where, sort_by=sort_by, sort_order=sort_order, limit=limit, offset=offset, values_bytes=values_bytes
        )
        return await self._unsealed(found)

    async def count(self, where: ThreadFilter) -> int:
        return await self._inner.count(where)

    async def set_state(self, thread_id: ThreadId, after: ThreadOutcome) -> None:
        cipher, described = self._cipher, after.described
        if described is None and after.values is not None and b'"title"' in after.values:
            before = await self.get(thread_id)
            title = changed_title(None if before is None else before.values, after.values)
            described = {"title": title[:TITLE_LENGTH]} if title else None

        async def sealed() -> ThreadOutcome:
            values, interrupts, error, more = await asyncio.gather(
                seal_bytes(cipher, THREAD, "values", after.values),
                seal_bytes(cipher, THREAD, "interrupts", after.interrupts),
                seal_failure(cipher, THREAD, after.error),
                seal(cipher, THREAD, "metadata", described or {}),
            )
            questions = await seal_questions(cipher, after)
            return replace(
                after,
                values=values,
                interrupts=interrupts or b"{}",
                error=error,
                described=more,
                questions=questions,
            )

        stored, actor = await cipher.together(sealed), require_actor_context("updating a thread's state")
        if after.interrupts != NO_INTERRUPTS:
            # New approvals keep the actor.
            actor = await seal_actor(cipher, actor)
        with acting(actor):
            await self._inner.set_state(thread_id, stored)

    async def set_title(self, thread_id: ThreadId, title: str) -> None:
        await self.update(thread_id, metadata={"title": title[:TITLE_LENGTH]})

    async def _sealed(self, fields: Mapping[str, JsonMapping | None]) -> list[Any]:
        async def work() -> list[Any]:
            return await asyncio.gather(*(seal(self._cipher, THREAD, *field) for field in fields.items()))

        return await self._cipher.together(work)

    async def _one(self, record: ThreadRecord | None) -> ThreadRecord | None:
        return None if record is None else (await self._unsealed([record]))[0]

    async def _unsealed(self, records: Sequence[ThreadRecord]) -> list[ThreadRecord]:
        return await unseal_each(
            self._cipher, "threads", records, lambda record: {"thread_id": record.thread_id}, _unseal
        )


async def _unseal(cipher: FieldCipher, record: ThreadRecord) -> ThreadRecord:
    metadata, config, error, values, interrupts = await asyncio.gather(
        unseal(cipher, THREAD, "metadata", record.metadata),
        unseal(cipher, THREAD, "config", record.config),
        unseal(cipher, THREAD, "error", record.error),
        unseal_bytes(cipher, THREAD, "values", record.values),
        unseal_bytes(cipher, THREAD, "interrupts", record.interrupts),
    )
    return replace(record, metadata=metadata, config=config, error=error, values=values, interrupts=interrupts or b"{}")
