"""Handles of the runs that this process holds. The database row is authoritative, not the handle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.store import RunLeaseStore
from runstead.runtime.runs.types import Lease, RunId, RunRecord, StopReason

_log = logging.getLogger(__name__)

_REMEMBERED: Final = 10_000
"""Maximum number of runs whose actors are kept. Most of them may execute in other processes, which do not report to
this one."""


@dataclass(slots=True, eq=False)
class RunHandle:
    """One held run: its lease, its task, and its stop reason if it is to stop."""

    lease: Lease
    stop_reason: StopReason | None = None
    task: asyncio.Task[None] | None = None
    renewing: asyncio.Task[None] | None = None
    on_messages: Callable[[], None] | None = None
    """Called when messages for the run may have been sent or withdrawn."""
    _stop_notified: Callable[[], None] | None = field(default=None, init=False)

    def on_stop(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` at every later stop, and immediately if the run is already to stop."""
        self._stop_notified = tell
        if self.stop_reason is not None:
            tell()

    def stop(self, reason: StopReason) -> None:
        """Request that the run stops. The first reason counts, with three exceptions.

        A lost lease overrules every other reason, since nothing may be written any more. A rollback overrules a stop
        that keeps the steps. Every reason overrules an expired lease, which only hands the run back.
        """
        current = self.stop_reason
        overrules = current is not None and (
            reason is StopReason.LEASE_LOST
            or current is StopReason.LEASE_EXPIRED
            or (reason.rolls_back and not current.rolls_back and current is not StopReason.LEASE_LOST)
        )
        if current is None or overrules:
            self.stop_reason = reason
        if self._stop_notified is not None:
            self._stop_notified()


async def stop_revoked(handle: RunHandle, leases: RunLeaseStore) -> None:
    """Stop a held run whose user has lost access, and store the reason in its row unless the database is
    unavailable."""
    handle.stop(StopReason.REVOKED)
    try:
        await leases.request_stop(handle.lease.run_id, StopReason.REVOKED)
    except Exception:
        _log.warning("could not store the stop reason of run %s", handle.lease.run_id, exc_info=True)


class RunRegistry:
    """Registry of held runs by id."""

    def __init__(self) -> None:
        self._handles: dict[RunId, RunHandle] = {}
        self._actors: dict[RunId, ActorContext] = {}

    def remember(self, record: RunRecord, actor: ActorContext) -> None:
        """Keep the parts of a new run's actor that are not stored, in case this process executes the run."""
        if actor.unstored and record.actor == replace(actor, claims=record.actor.claims):
            self._actors[record.run_id] = actor
            if len(self._actors) > _REMEMBERED:
                del self._actors[next(iter(self._actors))]

    def whole(self, lease: Lease) -> Lease:
        """Return the lease with the parts of its run's actor that this process remembers."""
        if (actor := self._actors.get(lease.run_id)) is None:
            return lease
        return replace(lease, run=replace(lease.run, actor=replace(actor, access_scope=lease.run.actor.access_scope)))

    def add(self, handle: RunHandle) -> None:
        if (earlier := self._handles.get(handle.lease.run_id)) is not None:
            # The earlier handle's lease expired without this process noticing.
            earlier.stop(StopReason.LEASE_LOST)
        self._handles[handle.lease.run_id] = handle

    def remove(self, handle: RunHandle) -> None:
        """Remove the handle, unless a later attempt has replaced it."""
        if self._handles.get(handle.lease.run_id) is handle:
            del self._handles[handle.lease.run_id]
        if handle.stop_reason is None or handle.stop_reason.is_terminal:
            self._actors.pop(handle.lease.run_id, None)

    def get(self, run_id: RunId) -> RunHandle | None:
        return self._handles.get(run_id)

    def __iter__(self) -> Iterator[RunHandle]:
        return iter(list(self._handles.values()))

    def __len__(self) -> int:
        return len(self._handles)
