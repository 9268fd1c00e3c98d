"""The handles of the runs that this process holds. Never the truth: that is the durable row."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ..store import RunLeaseStore
from ..types import Lease, RunId, Stopped

_log = logging.getLogger(__name__)


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

    def add(self, handle: RunHandle) -> None:
        if (earlier := self._handles.get(handle.lease.run_id)) is not None:
            # Its lease had lapsed, unnoticed until now.
            earlier.stop(Stopped.LEASE_LOST)
        self._handles[handle.lease.run_id] = handle

    def remove(self, handle: RunHandle) -> None:
        """Forget the handle, unless a later attempt has taken its place."""
        if self._handles.get(handle.lease.run_id) is handle:
            del self._handles[handle.lease.run_id]

    def get(self, run_id: RunId) -> RunHandle | None:
        return self._handles.get(run_id)

    def __iter__(self) -> Iterator[RunHandle]:
        return iter(list(self._handles.values()))

    def __len__(self) -> int:
        return len(self._handles)
