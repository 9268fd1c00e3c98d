"""The handles of the runs that this process holds. Never the truth: that is the durable row."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from runstead.runtime.actor_context import ActorContext

from ..store import RunLeaseStore
from ..types import Lease, RunId, RunRecord, Stopped

_log = logging.getLogger(__name__)

_REMEMBERED: Final = 10_000
"""Runs whose actors are kept: most of them may be executed elsewhere, of which nothing is heard here."""


@dataclass(slots=True, eq=False)
class RunHandle:
    """One held run: its lease, its task, and the one reason it is to stop for, if any."""

    lease: Lease
    stop_reason: Stopped | None = None
    task: asyncio.Task[None] | None = None
    renewing: asyncio.Task[None] | None = None
    _told: Callable[[], None] | None = field(default=None, init=False)

    def on_stop(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` at every stop from now on, and at once when there was one already."""
        self._told = tell
        if self.stop_reason is not None:
            tell()

    def stop(self, reason: Stopped) -> None:
        """Ask the run to stop. The first reason counts, but for two: a lost lease overrules every other,
        for nothing may be written any more; and a rollback overrules a stop that keeps the steps.
        """
        current = self.stop_reason
        overrules = current is not None and (
            reason is Stopped.LEASE_LOST or (reason.undoes and not current.undoes and current is not Stopped.LEASE_LOST)
        )
        if current is None or overrules:
            self.stop_reason = reason
        if self._told is not None:
            self._told()


async def stop_revoked(handle: RunHandle, leases: RunLeaseStore) -> None:
    """Stop a held run whose user has lost access; its row says why, unless the storage is away."""
    handle.stop(Stopped.REVOKED)
    try:
        await leases.request_stop(handle.lease.run_id, Stopped.REVOKED)
    except Exception:
        _log.warning("the reason of the stop of run %s could not be stored", handle.lease.run_id, exc_info=True)


class RunRegistry:
    """Finds the handle of a held run by its id."""

    def __init__(self) -> None:
        self._handles: dict[RunId, RunHandle] = {}
        self._actors: dict[RunId, ActorContext] = {}

    def remember(self, record: RunRecord, actor: ActorContext) -> None:
        """Keep what is not stored of a new run's actor, for the case that it is executed here."""
        if actor.unstored and record.actor == replace(actor, claims=record.actor.claims):
            self._actors[record.run_id] = actor
            if len(self._actors) > _REMEMBERED:
                del self._actors[next(iter(self._actors))]

    def whole(self, lease: Lease) -> Lease:
        """The lease with what this process remembers of its run's actor."""
        if (actor := self._actors.get(lease.run_id)) is None:
            return lease
        return replace(lease, run=replace(lease.run, actor=replace(actor, reach=lease.run.actor.reach)))

    def add(self, handle: RunHandle) -> None:
        if (earlier := self._handles.get(handle.lease.run_id)) is not None:
            # Its lease had lapsed, unnoticed until now.
            earlier.stop(Stopped.LEASE_LOST)
        self._handles[handle.lease.run_id] = handle

    def remove(self, handle: RunHandle) -> None:
        """Forget the handle, unless a later attempt has taken its place."""
        if self._handles.get(handle.lease.run_id) is handle:
            del self._handles[handle.lease.run_id]
        if handle.stop_reason is None or handle.stop_reason.settles:
            self._actors.pop(handle.lease.run_id, None)

    def get(self, run_id: RunId) -> RunHandle | None:
        return self._handles.get(run_id)

    def __iter__(self) -> Iterator[RunHandle]:
        return iter(list(self._handles.values()))

    def __len__(self) -> int:
        return len(self._handles)
