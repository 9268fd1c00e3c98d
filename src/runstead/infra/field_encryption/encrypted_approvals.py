"""Approval stores that encrypt and decrypt through handlers: questions and answers come from encrypted runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from runstead.resources.approvals import (
    ApprovalDeadlineStore,
    ApprovalEvent,
    ApprovalFilter,
    ApprovalId,
    ApprovalRecord,
    ApprovalStore,
    DueApproval,
    Fired,
)
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.field_encryption import FieldCipher
from runstead.runtime.runs.types import ThreadId

from .json_fields import is_sealed, seal, unseal
from .run_fields import ANSWER, THREAD, unseal_actor


class EncryptedApprovalStore:
    """An ApprovalStore whose questions, answers and comments are encrypted by handlers."""

    def __init__(self, inner: ApprovalStore, cipher: FieldCipher) -> None:
        self._inner, self._cipher = inner, cipher

    async def get(self, approval_id: ApprovalId) -> ApprovalRecord | None:
        record = await self._inner.get(approval_id)
        return None if record is None else await unseal_approval(self._cipher, record)

    async def search(self, where: ApprovalFilter, *, limit: int = 10, offset: int = 0) -> Sequence[ApprovalRecord]:
        found = await self._inner.search(where, limit=limit, offset=offset)
        return await asyncio.gather(*(unseal_approval(self._cipher, record) for record in found))

    async def count(self, where: ApprovalFilter) -> int:
        return await self._inner.count(where)

    async def events(self, approval_id: ApprovalId) -> Sequence[ApprovalEvent]:
        return await self._shown_events(await self._inner.events(approval_id))

    async def events_of_thread(self, thread_id: ThreadId, after: datetime | None = None) -> Sequence[ApprovalEvent]:
        return await self._shown_events(await self._inner.events_of_thread(thread_id, after))

    async def latest_event_at(self, thread_id: ThreadId) -> datetime | None:
        return await self._inner.latest_event_at(thread_id)

    async def delegate(self, approval_id: ApprovalId, user_id: str | None) -> ApprovalRecord:
        return await unseal_approval(self._cipher, await self._inner.delegate(approval_id, user_id))

    async def comment(self, approval_id: ApprovalId, text: str) -> ApprovalEvent:
        sealed = await seal(self._cipher, THREAD, ANSWER, text)
        return (await self._shown_events([await self._inner.comment(approval_id, sealed)]))[0]

    async def asker(self, approval_id: ApprovalId) -> ActorContext | None:
        actor = await self._inner.asker(approval_id)
        return None if actor is None else await unseal_actor(self._cipher, actor)

    async def _shown_events(self, events: Sequence[ApprovalEvent]) -> Sequence[ApprovalEvent]:
        comments = await asyncio.gather(
            *(unseal(self._cipher, THREAD, ANSWER, event.details.get("comment")) for event in events)
        )
        return [
            replace(event, details={**event.details, "comment": comment}) if comment is not None else event
            for event, comment in zip(events, comments, strict=True)
        ]


class EncryptedApprovalDeadlines:
    """An ApprovalDeadlineStore whose default answers and actors are encrypted by handlers."""

    def __init__(self, inner: ApprovalDeadlineStore, cipher: FieldCipher) -> None:
        self._inner, self._cipher = inner, cipher

    async def due(self, limit: int) -> Sequence[DueApproval]:
        return await self._inner.due(limit)

    async def next_due(self) -> datetime | None:
        return await self._inner.next_due()

    async def fire(self, due: DueApproval) -> Fired | None:
        fired = await self._inner.fire(due)
        if fired is None or fired.asker is None:
            return fired
        asker = await unseal_actor(self._cipher, fired.asker)
        return Fired(await unseal_approval(self._cipher, fired.approval), asker)

    async def expire(self, due: DueApproval, reason: str) -> ApprovalRecord | None:
        return await self._inner.expire(due, reason)

    async def postpone(self, due: DueApproval, until: datetime) -> None:
        await self._inner.postpone(due, until)


async def unseal_approval(cipher: FieldCipher, record: ApprovalRecord) -> ApprovalRecord:
    """Return the approval decrypted. Raises EncryptionFailed."""
    content, decision, default = await asyncio.gather(
        unseal(cipher, THREAD, "interrupts", record.question),
        unseal(cipher, THREAD, ANSWER, record.decision),
        unseal(cipher, THREAD, ANSWER, record.default),
    )
    record = replace(record, decision=decision, default=default)
    if not is_sealed(record.question):
        return record
    return replace(record, question=content.get("value"), response_schema=content.get("response_schema"))
