"""Services of the server that channels use, and the port to its rules for users: authorization, audit, revocation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from runstead.resources.assistant_lookup import AssistantLookup
from runstead.resources.channels import ChannelLeaseStore, ChannelLink, ChannelLinkStore, ChannelMessageStore
from runstead.resources.interrupts import OpenInterrupts
from runstead.resources.states import ThreadStates
from runstead.resources.thread_files import ThreadFiles
from runstead.resources.threads import ThreadStore
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.limits import RequestLimiter
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.store import RunEventStore, RunUsageStore, SteeringStore
from runstead.runtime.runs.types import ThreadId
from runstead.wire.runs import RunCreate


class AccessRules(Protocol):
    """Rules that hold for users of every entry to the server."""

    async def authorize_run(self, thread_id: ThreadId, run: RunCreate) -> RunCreate:
        """Return the run with the changes of the auth handlers; from then on the bound actor has the access that it
        needs. Raises Forbidden and NotFound."""
        ...

    async def authorize_thread(self, metadata: JsonMapping) -> JsonMapping:
        """Return the metadata of a new thread with the changes of the auth handlers. Raises Forbidden."""
        ...

    async def may_read(self, thread_id: ThreadId) -> bool:
        """Return whether the auth handlers let the bound actor read a thread; True without handlers."""
        ...

    async def is_revoked(self, link: ChannelLink) -> bool:
        """Return whether a link is too old, or the credentials with which it was made are no longer valid."""
        ...

    async def record(
        self,
        actor: ActorContext,
        *,
        action: str,
        route: str,
        status: int,
        target: JsonMapping | None = None,
        details: JsonMapping | None = None,
    ) -> None:
        """Write an entry of the audit log, if there is one."""
        ...


@dataclass(frozen=True, slots=True)
class ChannelStores:
    """Stored links, messages and leases of channels."""

    links: ChannelLinkStore
    messages: ChannelMessageStore
    leases: ChannelLeaseStore


@dataclass(frozen=True, slots=True)
class ChannelServices:
    """Services of the server for channels. ``assistant`` answers in all channels, ``requests`` limits the messages of
    each user. While an answer is open, the access of its user is checked every ``access_check_seconds``. With
    ``steering``, messages during a run are sent to that run."""

    runs: RunsFacade
    threads: ThreadStore
    states: ThreadStates
    interrupts: OpenInterrupts
    assistants: AssistantLookup
    events: RunEventStore
    usage: RunUsageStore
    stores: ChannelStores
    rules: AccessRules
    clock: Clock
    assistant: str
    steering: SteeringStore | None = None
    files: ThreadFiles | None = None
    requests: RequestLimiter | None = None
    access_check_seconds: float = 5.0
