"""Fire the reminders, escalations and deadlines of approvals: each once, however many processes do this.

Reminders, escalations and expiries are written in the transaction that checks whether they are due. A default answer is
a run, whose creation closes the approval in the same way as the answer of a person.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from runstead.infra.dispatch.due_loop import repeat_when_due
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.resources.approvals import (
    ApprovalClosed,
    ApprovalDeadlineStore,
    ApprovalRecord,
    DueApproval,
)
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.clock import Clock
from runstead.runtime.periodic import beside
from runstead.runtime.runs.observer import RunLifecycleEvent
from runstead.runtime.runs.types import ThreadId
from runstead.runtime.storage_fault import StorageFault
from runstead.wire.errors import UNEXPECTED, problem_of

_log = logging.getLogger(__name__)

_BATCH: Final = 100
_BACKOFF: Final = timedelta(minutes=5)
"""Time until an approval is tried again that could not be fired."""

DefaultAnswer: TypeAlias = Callable[[ApprovalRecord], Awaitable[None]]
"""Answer an approval with its default answer, as the bound actor. Raises ApprovalClosed if it is not open."""
Notify: TypeAlias = Callable[[ThreadId], Awaitable[None]]
"""Wake the readers of a thread's stream, and the sender of webhooks."""


class ApprovalBell(WakeupSignal):
    """Wake-up signal of the loop. Also a RunObserver: a run that ends with a question rings it."""

    async def on_event(self, event: RunLifecycleEvent) -> None:
        """Ring for a new question; see RunObserver."""
        if event.thread_status == "interrupted":
            self.notify()


class ApprovalDeadlines:
    """Loop over the due approvals of all users. ``recheck``: seconds between two reads of the storage."""

    def __init__(
        self,
        store: ApprovalDeadlineStore,
        answer: DefaultAnswer,
        notify: Notify,
        bell: WakeupSignal,
        clock: Clock,
        recheck: float = 5,
    ) -> None:
        self._store, self._answer, self._notify = store, answer, notify
        self._bell, self._clock, self._recheck = bell, clock, recheck

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loop for the length of a block."""
        serving = repeat_when_due(self._round, self._bell, self._clock, self._recheck, failed=self._failed)
        async with beside(serving, "approvals"):
            yield

    async def fire_due(self) -> None:
        """Fire everything that is due now. Raises StorageError.

        An approval that cannot be fired is logged and postponed, so that it delays no other one.
        """
        while due := await self._store.due(_BATCH):
            for one in due:
                await self._fire_or_postpone(one)
            if len(due) < _BATCH:
                break

    async def _round(self, _: asyncio.Event) -> datetime | None:
        await self.fire_due()
        return await self._store.next_due()

    def _failed(self) -> None:
        _log.exception("firing the deadlines of approvals failed; retrying in %g s", self._recheck)

    async def _fire_or_postpone(self, due: DueApproval) -> None:
        try:
            await self._fire(due)
        except StorageFault:
            raise
        except Exception:
            seconds = _BACKOFF.total_seconds()
            _log.exception("approval %s could not be fired; retrying in %g s", due.approval_id, seconds)
            await self._store.postpone(due, self._clock.now() + _BACKOFF)

    async def _fire(self, due: DueApproval) -> None:
        fired = await self._store.fire(due)
        if fired is None:
            return
        record: ApprovalRecord | None = fired.approval
        if fired.asker is not None:
            record = await self._answered(due, fired.approval, fired.asker)
        if record is not None and record.state == "expired":
            _log.warning("approval %s of thread %s has expired", due.approval_id, due.thread_id)
        await self._notify(due.thread_id)

    async def _answered(self, due: DueApproval, record: ApprovalRecord, asker: ActorContext) -> ApprovalRecord | None:
        """Give the default answer; if that is impossible, let the approval expire with the reason."""
        try:
            with acting(asker):
                await self._answer(record)
        except ApprovalClosed:
            # Another process was faster, or a person.
            return None
        except StorageFault:
            raise
        except Exception as error:
            problem = problem_of(error)
            if problem.status == UNEXPECTED:
                _log.exception("the default answer of approval %s could not be given", due.approval_id)
            return await self._store.expire(due, f"the default answer could not be given: {problem.detail}")
        return None
