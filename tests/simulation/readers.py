"""Readers for stories: they record the events of a run, read inside the server's process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.facade import RunsFacade, RunStream
from runstead.runtime.runs.types import RunId, RunSpec
from runstead.runtime.stream_bridge.contract import Sentinel, StreamEvent, StreamItem

from .clients import ACTOR
from .scenario import Scenario


class Reader:
    """Reads a stream to its end in the background of a story."""

    def __init__(self, story: Scenario, task: asyncio.Task[None], items: list[StreamItem]) -> None:
        self._story, self._task, self.items = story, task, items

    @classmethod
    def of(
        cls,
        story: Scenario,
        run: RunSpec | RunId,
        *,
        last_event_id: str | None = "-1",
        modes: Sequence[str] | None = None,
        seconds_per_batch: float = 0,
    ) -> Reader:
        """Create the run and read it from its first event; or join the run with this id."""
        items: list[StreamItem] = []

        async def read() -> None:
            with acting(ACTOR):
                stream = await _opened(story.kernel.facade, run, last_event_id, modes)
                try:
                    while batch := await stream.read():
                        items.extend(batch)
                        if seconds_per_batch:
                            await asyncio.sleep(seconds_per_batch)
                finally:
                    await stream.aclose()

        return cls(story, story.kernel.process.spawn(read(), name="reader"), items)

    @property
    def events(self) -> list[StreamEvent]:
        return [item for item in self.items if isinstance(item, StreamEvent)]

    @property
    def names(self) -> list[str]:
        return [event.event for event in self.events]

    @property
    def ids(self) -> list[str]:
        """Return the ids of all events that have one; gap events have none."""
        return [event.id for event in self.events if event.id]

    @property
    def sentinel(self) -> Sentinel | None:
        """Return the sentinel that the stream ended with."""
        ends = [item for item in self.items if isinstance(item, Sentinel) and item is not Sentinel.HEARTBEAT]
        return ends[0] if ends else None

    @property
    def is_done(self) -> bool:
        """Return whether the stream has ended; raise the error of reading it, if any."""
        if self._task.done():
            self._task.result()
        return self._task.done()

    def hang_up(self) -> None:
        """Disconnect, in the way in which a gateway's response is cancelled when its client is gone."""
        self._story.kernel.process.loop.call_soon(self._task.cancel)
        self._story.wait(0)


async def _opened(
    runs: RunsFacade, run: RunSpec | RunId, last_event_id: str | None, modes: Sequence[str] | None
) -> RunStream:
    if isinstance(run, str):
        return await runs.join_stream(run, last_event_id=last_event_id, modes=modes)
    _, stream = await runs.create_and_stream(run)
    return stream
