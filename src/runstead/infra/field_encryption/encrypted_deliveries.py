"""A webhook delivery store that decrypts through handlers: its content was made from encrypted runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from runstead.resources.webhooks import DeliveryAttempt, DeliveryFilter, DeliveryRecord, DeliveryStore, DueDelivery
from runstead.runtime.field_encryption import EncryptionFailed, FieldCipher

from .json_fields import unseal
from .run_fields import RUN, unseal_actor, unseal_end_of_run

_log = logging.getLogger(__name__)


class EncryptedDeliveryStore:
    """A DeliveryStore that decrypts through handlers."""

    def __init__(self, inner: DeliveryStore, cipher: FieldCipher) -> None:
        self._inner, self._cipher = inner, cipher

    async def get(self, delivery_id: str) -> DeliveryRecord | None:
        return await self._one(await self._inner.get(delivery_id))

    async def search(self, where: DeliveryFilter, *, limit: int = 10, offset: int = 0) -> Sequence[DeliveryRecord]:
        found = await self._inner.search(where, limit=limit, offset=offset)
        return [await self._shown(record) for record in found]

    async def count(self, where: DeliveryFilter) -> int:
        return await self._inner.count(where)

    async def attempts(self, delivery_id: str) -> Sequence[DeliveryAttempt]:
        return await self._inner.attempts(delivery_id)

    async def redeliver(self, delivery_id: str) -> DeliveryRecord | None:
        return await self._one(await self._inner.redeliver(delivery_id))

    async def claim(self, limit: int, term: timedelta) -> Sequence[DueDelivery]:
        """Claim due deliveries; see the port.

        One that cannot be decrypted stays claimed for its term and is then retried.
        """
        found = []
        for due in await self._inner.claim(limit, term):
            try:
                body = await unseal_end_of_run(self._cipher, due.body)
                found.append(replace(due, body=body, actor=await unseal_actor(self._cipher, due.actor)))
            except EncryptionFailed as error:
                _log.warning(
                    "webhook delivery %s cannot be decrypted now, and is retried later: %s", due.delivery_id, error
                )
        return found

    async def settle(self, due: DueDelivery, attempt: DeliveryAttempt, again_at: datetime | None) -> bool:
        return await self._inner.settle(due, attempt, again_at)

    async def next_due(self) -> datetime | None:
        return await self._inner.next_due()

    async def abandon_all(self) -> int:
        return await self._inner.abandon_all()

    async def _one(self, record: DeliveryRecord | None) -> DeliveryRecord | None:
        return None if record is None else await self._shown(record)

    async def _shown(self, record: DeliveryRecord) -> DeliveryRecord:
        return replace(record, metadata=await unseal(self._cipher, RUN, "metadata", record.metadata))
