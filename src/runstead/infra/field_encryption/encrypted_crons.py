"""A cron store whose fields are encrypted by handlers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Literal

from runstead.resources.crons import Change, CronFilter, CronRecord, CronSortField, CronStore
from runstead.runtime.actor_context import acting, require_actor_context
from runstead.runtime.field_encryption import EncryptionFailed, FieldCipher
from runstead.runtime.runs.types import CronId

from .decryption import unseal_each
from .json_fields import seal, unseal
from .run_fields import seal_actor, unseal_actor

_log = logging.getLogger(__name__)
_MODEL: Final = "cron"
_TRIES: Final = 20


class _Moved(Exception):
    """The cron has changed since its new version was encrypted."""


class EncryptedCronStore:
    """A CronStore that encrypts fields through handlers."""

    def __init__(self, inner: CronStore, cipher: FieldCipher) -> None:
        self._inner, self._cipher = inner, cipher

    async def create(self, cron: CronRecord) -> CronRecord:
        actor = require_actor_context("creating a cron")
        sealed = await self._sealed(cron)
        with acting(await seal_actor(self._cipher, actor)):
            made = await self._inner.create(sealed)
        return replace(made, payload=cron.payload, metadata=cron.metadata, actor=cron.actor)

    async def get(self, cron_id: CronId) -> CronRecord | None:
        return await self._one(await self._inner.get(cron_id))

    async def search(
        self,
        where: CronFilter,
        *,
        sort_by: CronSortField = "created_at",
        sort_order: Literal["asc", "desc"] = "desc",
        limit: int = 10,
        offset: int = 0,
    ) -> Sequence[CronRecord]:
        found = await self._inner.search(where, sort_by=sort_by, sort_order=sort_order, limit=limit, offset=offset)

        return await self._unsealed(found)

    async def count(self, where: CronFilter) -> int:
        return await self._inner.count(where)

    async def update(self, cron_id: CronId, change: Change) -> CronRecord | None:
        """Update a cron; see the port.

        ``change`` is applied to the cron as read, and again if it has changed meanwhile.
        """
        actor = require_actor_context("changing a cron")
        sealed_actor = await seal_actor(self._cipher, actor)
        for _ in range(_TRIES):
            if (stored := await self._inner.get(cron_id)) is None:
                return None
            [plain] = await self._unsealed([stored])
            sealed = await self._sealed(change(plain))

            def write(
                now: CronRecord, stored: CronRecord = stored, plain: CronRecord = plain, sealed: CronRecord = sealed
            ) -> CronRecord:
                if (now.payload, now.metadata) != (stored.payload, stored.metadata):
                    raise _Moved
                # Applied once more: the other fields, which are not encrypted, may have changed.
                changed = change(replace(now, payload=plain.payload, metadata=plain.metadata, actor=plain.actor))
                return replace(changed, payload=sealed.payload, metadata=sealed.metadata, actor=now.actor)

            try:
                with acting(sealed_actor):
                    written = await self._inner.update(cron_id, write)
            except _Moved:
                continue
            return await self._one(written)
        raise EncryptionFailed(f"the cron {cron_id} changes faster than it can be encrypted; try again")

    async def delete(self, cron_id: CronId) -> bool:
        return await self._inner.delete(cron_id)

    async def due(self, limit: int) -> Sequence[CronRecord]:
        """Return the due crons; see the port.

        One that cannot be decrypted moves to its next date and records the error.
        """
        found: list[CronRecord] = []
        for record in await self._inner.due(limit):
            try:
                found += await self._unsealed([record])
            except EncryptionFailed as error:
                _log.warning("cron %s creates no run: %s", record.cron_id, error)
                if (due_at := record.next_run_date) is not None:
                    await self._inner.skip(record.cron_id, due_at, record.due_after(due_at), str(error))
        return found

    async def next_due(self) -> datetime | None:
        return await self._inner.next_due()

    async def skip(self, cron_id: CronId, due_at: datetime, next_at: datetime | None, error: str) -> bool:
        return await self._inner.skip(cron_id, due_at, next_at, error)

    async def _one(self, record: CronRecord | None) -> CronRecord | None:
        return None if record is None else (await self._unsealed([record]))[0]

    async def _unsealed(self, records: Sequence[CronRecord]) -> list[CronRecord]:
        return await unseal_each(self._cipher, "crons", records, lambda record: {"cron_id": record.cron_id}, _unseal)

    async def _sealed(self, cron: CronRecord) -> CronRecord:
        payload, metadata = await asyncio.gather(
            seal(self._cipher, _MODEL, "payload", cron.payload),
            seal(self._cipher, _MODEL, "metadata", cron.metadata),
        )
        return replace(cron, payload=payload, metadata=metadata)


async def _unseal(cipher: FieldCipher, record: CronRecord) -> CronRecord:
    payload, metadata, actor = await asyncio.gather(
        unseal(cipher, _MODEL, "payload", record.payload),
        unseal(cipher, _MODEL, "metadata", record.metadata),
        unseal_actor(cipher, record.actor),
    )
    return replace(record, payload=payload, metadata=metadata, actor=actor)
