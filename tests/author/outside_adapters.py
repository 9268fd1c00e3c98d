"""Adapters from outside of the package, which implement only what the ports say."""

from __future__ import annotations

from runstead.runtime import RunLifecycleEvent, RunLifecycleEventType

HEARD: list[tuple[str, str, str]] = []
"""Observer, event type and event id."""


class Recorder:
    """An observer; an instance of it is made when a server starts."""

    async def on_event(self, event: RunLifecycleEvent) -> None:
        HEARD.append(("recorder", event.event_type.value, event.event_id))


class Broken:
    """An observer that fails, and affects nothing."""

    async def on_event(self, event: RunLifecycleEvent) -> None:
        raise ValueError("broken")


class Ledger:
    """A required observer that fails as often as it is asked to."""

    required = True

    def __init__(self, failures: int) -> None:
        self.failures, self.heard = failures, list[RunLifecycleEvent]()

    async def on_event(self, event: RunLifecycleEvent) -> None:
        if event.event_type in (RunLifecycleEventType.RUN_COMPLETED, RunLifecycleEventType.RUN_FAILED):
            self.heard.append(event)
            if len(self.heard) <= self.failures:
                raise ConnectionError("the ledger is away")
