"""Notification of required observers about ends of runs, at least once, also if the worker died after settling."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.backoff import exponential
from runstead.runtime.periodic import repeat
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.store import EndNotification, RunEndOutbox

from ..lifecycle_events import end_event

_log = logging.getLogger(__name__)

_PAUSE: Final = 0.5
"""Seconds between two reads of the outbox."""
_BATCH: Final = 50
_TERM: Final = timedelta(minutes=1)
"""Duration of a claim: another process notifies again after it."""
_LONGEST: Final = 300.0


class EndNotifier:
    """Takes notifications from the outbox, in every process that executes runs. An observer that fails is tried again,
    with pauses that grow to five minutes, for as long as it takes.
    """

    def __init__(self, runtime: RunsRuntime, outbox: RunEndOutbox) -> None:
        self._runtime, self._outbox = runtime, outbox

    async def watch(self) -> None:
        """Notify until cancelled."""

        def failed() -> None:
            _log.warning("the outbox of run ends could not be read; trying again", exc_info=True)

        await repeat(self.notify, _PAUSE, self._runtime.clock, failed=failed)

    async def notify(self) -> int:
        """Notify of all ends that are due, and return their number."""
        due = await self._outbox.claim(_BATCH, _TERM)
        for notification in due:
            if await self._is_taken(notification):
                await self._outbox.done(notification)
            else:
                pause = exponential(1.0, notification.tries, _LONGEST)
                await self._outbox.postpone(notification, timedelta(seconds=pause))
        return len(due)

    async def _is_taken(self, notification: EndNotification) -> bool:
        actor = ActorContext(notification.user_id, notification.tenant_id).with_access_to(notification.thread_id)
        with acting(actor):
            record = await self._runtime.query_store.get_run(notification.run_id)
        event, is_taken = end_event(notification, record), True
        with acting(actor if record is None else record.actor.with_access_to(notification.thread_id)):
            for observer in self._runtime.required_observers:
                try:
                    await observer.on_event(event)
                except Exception:
                    name = type(observer).__name__
                    _log.warning("required observer %s failed on the end of run %s", name, event.run_id, exc_info=True)
                    is_taken = False
        return is_taken
