"""Steering messages that are encrypted through handlers. They are sealed when they are accepted, as part of a run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from runstead.runtime.field_encryption import FieldCipher
from runstead.runtime.runs.steering import (
    MessageId,
    MovedMessage,
    SteeringMessage,
    TakenMessage,
    Taking,
    TakingTask,
)
from runstead.runtime.runs.store import SteeringStore
from runstead.runtime.runs.types import Lease, ThreadId

from .json_fields import unseal
from .run_fields import RUN, unseal_record


class EncryptedSteeringStore:
    """A SteeringStore that decrypts through handlers."""

    def __init__(self, inner: SteeringStore, cipher: FieldCipher) -> None:
        self._inner, self._cipher = inner, cipher

    async def get(self, thread_id: ThreadId, message_id: str) -> SteeringMessage:
        return (await self._plain([await self._inner.get(thread_id, message_id)]))[0]

    async def list(
        self, thread_id: ThreadId, *, only_open: bool = False, limit: int = 100, offset: int = 0
    ) -> Sequence[SteeringMessage]:
        return await self._plain(await self._inner.list(thread_id, only_open=only_open, limit=limit, offset=offset))

    async def withdraw(self, thread_id: ThreadId, message_id: str) -> SteeringMessage:
        return await self._inner.withdraw(thread_id, message_id)

    async def take(self, lease: Lease, task: TakingTask) -> Taking:
        taking = await self._inner.take(lease, task)
        return replace(taking, messages=await self._plain(taking.messages)) if taking.messages else taking

    async def resolve(self, taken: Sequence[TakenMessage], delivered: Collection[MessageId]) -> Sequence[MessageId]:
        return await self._inner.resolve(taken, delivered)

    async def list_unresolved(self, thread_id: ThreadId) -> Sequence[TakenMessage]:
        return await self._inner.list_unresolved(thread_id)

    async def move(self, thread_id: ThreadId) -> MovedMessage | None:
        moved = await self._inner.move(thread_id)
        return None if moved is None else replace(moved, run=await unseal_record(self._cipher, moved.run))

    async def list_idle(self, page: int = 1_000) -> Sequence[ThreadId]:
        return await self._inner.list_idle(page)

    async def _plain(self, messages: Sequence[SteeringMessage]) -> Sequence[SteeringMessage]:
        async def plain() -> Sequence[SteeringMessage]:
            return [replace(one, input=await unseal(self._cipher, RUN, "input", one.input)) for one in messages]

        return await self._cipher.together(plain)
