"""Webhooks: what is owed to the address that a run was created with, and what came of each attempt to deliver it.

A delivery is written in the transaction that ends its run, so none is lost to a crash; it is sent at least once, and
its id is the same at every attempt, by which a receiver knows a repetition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeAlias

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import RunId, ThreadId

DeliveryStatus: TypeAlias = Literal["pending", "delivered", "failed"]


class WebhookRefused(Exception):
    """An address that this server does not call; the text says why, for the one who named it."""


class DeliveryNotFound(Exception):
    """No such delivery for this actor."""

    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"Webhook delivery with ID {delivery_id} not found")


class WebhookGate(Protocol):
    """Decides which addresses may be called."""

    async def check(self, url: str) -> None:
        """Raises WebhookRefused for an address that would not be called. A yes may be a no when the time comes: what
        a name stands for can change, and is looked at again then.
        """
        ...


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One try. ``status_code`` None: no answer came, and ``error`` says why. ``number`` counts from 1."""

    number: int
    started_at: datetime
    ended_at: datetime
    status_code: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """A delivery as stored. ``metadata`` are the run's, by which a search may be narrowed.

    ``next_attempt_at`` is when it is tried (again), None once it is ``delivered`` or ``failed``; ``ended_at`` is when
    that was.
    """

    delivery_id: str
    run_id: RunId
    thread_id: ThreadId
    url: str
    status: DeliveryStatus
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None = None
    ended_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """What the sender is to send now. ``body`` is JSON; ``claim`` fences: an old one settles nothing."""

    delivery_id: str
    url: str
    body: bytes
    actor: ActorContext
    number: int
    claim: int


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to find; ANDed. ``metadata`` is contained in that of their runs."""

    run_id: RunId | None = None
    thread_id: ThreadId | None = None
    status: DeliveryStatus | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class DeliveryStore(Protocol):
    """Deliveries as a run's end has left them. What users ask is asked under the bound actor (ActorRequired)."""

    async def get(self, delivery_id: str) -> DeliveryRecord | None: ...

    async def search(self, where: DeliveryFilter, *, limit: int = 10, offset: int = 0) -> Sequence[DeliveryRecord]:
        """The newest first."""
        ...

    async def count(self, where: DeliveryFilter) -> int: ...

    async def attempts(self, delivery_id: str) -> Sequence[DeliveryAttempt]:
        """What was tried, in order; nothing for a delivery that is not the actor's."""
        ...

    async def redeliver(self, delivery_id: str) -> DeliveryRecord | None:
        """Let it be sent again now, whatever has become of it, under the same id; None when it is not there. One that
        is on its way is sent once more only if that fails.
        """
        ...

    # --- for the sender: unscoped, since it serves everybody --------------------------------------------------------

    async def claim(self, limit: int, term: timedelta) -> Sequence[DueDelivery]:
        """Take deliveries that are due, the longest waiting first, for the time of ``term``. Of many senders one gets
        each; when its term has passed, another may have it.
        """
        ...

    async def settle(self, due: DueDelivery, attempt: DeliveryAttempt, again_at: datetime | None) -> bool:
        """Write what came of an attempt: tried again at ``again_at``; without one it is over, delivered if a status in
        the 200s came and failed otherwise. False, and nothing is written, when the claim is not the latest.
        """
        ...

    async def next_due(self) -> datetime | None:
        """When the next one can be claimed; now or in the past when one can be at once."""
        ...

    async def abandon_all(self) -> int:
        """Every claim's term ends now. For the start of a process that is alone with its storage."""
        ...
