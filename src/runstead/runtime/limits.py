"""Limits per user and per tenant: their values, the errors, and the ports of what counts requests and streams."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

from .actor_context import ActorContext

LimitScope: TypeAlias = Literal["user", "tenant"]
STREAM_RETRY_SECONDS: Final = 5


@dataclass(frozen=True, slots=True)
class Limit:
    """``amount`` per user or per tenant; for requests within ``seconds``."""

    scope: LimitScope
    amount: int
    seconds: int = 0

    def owner(self, actor: ActorContext) -> tuple[str, ...]:
        """Return whom the limit counts for."""
        return (actor.tenant_id,) if self.scope == "tenant" else (actor.tenant_id, actor.user_id)


class LimitExceeded(Exception):
    """The actor has used up a limit. ``retry_after`` is in seconds, an estimate where it is unknown when it is free."""

    def __init__(self, what: str, limit: Limit, retry_after: int) -> None:
        self.retry_after = max(1, retry_after)
        whose = "Your tenant" if limit.scope == "tenant" else "You"
        period = f" in {limit.seconds} s" if limit.seconds else " at once"
        super().__init__(
            f"{whose} may have {limit.amount} {what}{period}; send the request again after {self.retry_after} s"
        )


class RequestLimiter(Protocol):
    """Counts requests in a moving window."""

    async def take(self, actor: ActorContext) -> None:
        """Count one request. Raises LimitExceeded."""
        ...


class StreamLimiter(Protocol):
    """Counts the streams, WebSockets and waiting requests that are open."""

    def open(self, actor: ActorContext) -> AbstractAsyncContextManager[None]:
        """Count one for the length of a block. Raises LimitExceeded."""
        ...


@dataclass(frozen=True, slots=True)
class RunQuota:
    """Runs that have not ended, and of these the ones that wait to be executed, per user and per tenant."""

    in_flight: Sequence[Limit] = ()
    queued: Sequence[Limit] = ()

    @property
    def limits(self) -> Sequence[Limit]:
        return (*self.in_flight, *self.queued)


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Limits that requests are checked against; None where there is no limit."""

    requests: RequestLimiter | None = None
    streams: StreamLimiter | None = None


def limits_of(user: int | None, tenant: int | None) -> Sequence[Limit]:
    """Return the limits that are set, those of users first."""
    both: tuple[tuple[LimitScope, int | None], ...] = (("user", user), ("tenant", tenant))
    return [Limit(scope, amount) for scope, amount in both if amount is not None]
