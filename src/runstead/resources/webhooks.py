"""Webhook deliveries to the URL given with a run, and the result of each attempt.

A delivery is written in the transaction that ends its run, so that no crash loses it. It is sent at least once, with
the same id at every attempt, by which a receiver recognizes repetitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.types import RunId, ThreadId

DeliveryStatus: TypeAlias = Literal["pending", "delivered", "failed"]


class WebhookRefused(Exception):
    """This server does not call the URL; the text contains the reason, for the client."""


class DeliveryNotFound(Exception):
    """The actor has no such delivery."""

    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"Webhook delivery with ID {delivery_id} not found")


class WebhookGate(Protocol):
    """Policy for the URLs that may be called."""

    async def check(self, url: str) -> None:
        """Raise WebhookRefused for a URL that would not be called. The URL is checked again when it is called, since a
        host name can resolve to another address by then."""
        ...


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt. ``status_code`` is None if no response arrived; ``error`` is then the reason. ``number`` counts from
    1."""

    number: int
    started_at: datetime
    ended_at: datetime
    status_code: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """Delivery as stored. ``metadata`` are the run's, for filters.

    ``next_attempt_at`` is the time of the next attempt, None once the delivery is ``delivered`` or ``failed``;
    ``ended_at`` is the time of that.
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
    metadata: JsonMapping = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """Delivery to send now. ``body`` is JSON. ``claim`` is a fencing number: an outdated claim settles nothing."""

    delivery_id: str
    url: str
    body: bytes
    actor: ActorContext
    number: int
    claim: int


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Filter of deliveries; all conditions must hold. ``metadata`` must be contained in that of their runs."""

    run_id: RunId | None = None
    thread_id: ThreadId | None = None
    status: DeliveryStatus | None = None
    metadata: JsonMapping = field(default_factory=dict)


class DeliveryStore(Protocol):
    """Deliveries created by the ends of runs. Methods for users act under the bound actor (ActorRequired)."""

    async def get(self, delivery_id: str) -> DeliveryRecord | None: ...

    async def search(self, where: DeliveryFilter, *, limit: int = 10, offset: int = 0) -> Sequence[DeliveryRecord]:
        """Return matching deliveries, newest first."""
        ...

    async def count(self, where: DeliveryFilter) -> int: ...

    async def attempts(self, delivery_id: str) -> Sequence[DeliveryAttempt]:
        """Return the attempts in order; none for a delivery of another actor."""
        ...

    async def redeliver(self, delivery_id: str) -> DeliveryRecord | None:
        """Schedule a delivery for an immediate attempt, in whatever state it is, under the same id; None if there is no
        such delivery. A delivery that is being sent is sent again only if that attempt fails."""
        ...

    # --- for the sender: unscoped, since it serves all users --------------------------------------------------------

    async def claim(self, limit: int, term: timedelta) -> Sequence[DueDelivery]:
        """Claim due deliveries, longest waiting first, for ``term``. Each is claimed by one sender at a time; after its
        term, another sender may claim it."""
        ...

    async def settle(self, due: DueDelivery, attempt: DeliveryAttempt, again_at: datetime | None) -> bool:
        """Record the result of an attempt. With ``again_at``, the delivery is tried again then; otherwise it is over:
        delivered for a 2xx status, failed for anything else. Return False without any change if the claim is not the
        latest."""
        ...

    async def next_due(self) -> datetime | None:
        """Return the time at which the next delivery can be claimed; not in the future if one is claimable at once."""
        ...

    async def abandon_all(self) -> int:
        """End the term of every claim now. Only at the start of a process that is the sole user of its database."""
        ...
