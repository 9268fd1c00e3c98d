"""An observer that records events, and fails on demand."""

from __future__ import annotations

from collections.abc import Callable

from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.runs.observer import RunLifecycleEvent, RunLifecycleEventType
from runstead.runtime.runs.types import RunId


class RecordingObserver:
    """Records every lifecycle event with the bound actor. ``fails`` makes it raise after the recording."""

    def __init__(self, fails: Callable[[RunLifecycleEvent], bool] = lambda event: False) -> None:
        self.events: list[RunLifecycleEvent] = []
        self.actors: list[ActorContext] = []
        self._fails = fails

    async def on_event(self, event: RunLifecycleEvent) -> None:
        self.actors.append(require_actor_context("observing a run"))
        self.events.append(event)
        if self._fails(event):
            raise RuntimeError(f"the observer failed on {event.event_type.value}")

    def of(self, run_id: RunId) -> list[RunLifecycleEventType]:
        """Return the event types of one run, in order."""
        return [event.event_type for event in self.events if event.run_id == run_id]
