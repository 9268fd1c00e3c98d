"""Publishes one attempt's events. A stream that fails costs live streaming, never the run."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from runstead.runtime.serialization import encode
from runstead.runtime.stream_bridge import (
    StaleAttempt,
    StreamBridge,
    StreamBridgeError,
    StreamEvent,
    StreamTerminated,
    TerminalKind,
)

from ..types import Outcome, RunId, RunRecord, RunStatus

_log = logging.getLogger(__name__)


class RunPublisher:
    """One attempt's side of its stream."""

    def __init__(self, bridge: StreamBridge, run_id: RunId, attempt: int) -> None:
        self._bridge, self._run_id, self._attempt = bridge, run_id, attempt
        self._failing = False
        self.superseded = False
        """A higher attempt publishes: this one has lost its run."""

    async def open(self) -> None:
        """Take the stream over for this attempt."""
        try:
            await self._bridge.open(self._run_id, self._attempt)
        except Exception as error:
            self._failed(error)

    async def publish(self, event: str, data: bytes) -> None:
        try:
            await self._bridge.publish(self._run_id, event, data, attempt=self._attempt)
        except StaleAttempt:
            self.superseded = True
        except StreamTerminated:
            pass
        except Exception as error:
            self._failed(error)
        else:
            self._failing = False

    async def awaiting_input(self) -> None:
        """The run stopped to ask a human."""
        try:
            await self._bridge.mark_awaiting_input(self._run_id)
        except Exception as error:
            self._failed(error)

    async def end(self, kind: TerminalKind, data: bytes) -> None:
        try:
            await self._bridge.publish_terminal(self._run_id, kind, data, attempt=self._attempt)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        # Once per stretch of failures: a stream that is down would fill the log with every token.
        if not self._failing:
            expected = isinstance(error, StreamBridgeError)
            _log.warning(
                "run %s goes on without its stream: %s", self._run_id, error, exc_info=None if expected else error
            )
        self._failing = True


def terminal_of(outcome: Outcome) -> tuple[TerminalKind, bytes]:
    """The terminal event that tells of an outcome; an ``end`` carries the run's output."""
    if outcome.failure is not None:
        return "error", encode(outcome.failure.to_json())
    if outcome.status is RunStatus.INTERRUPTED:
        return "cancel", b"null"
    return "end", outcome.output or b"null"


async def tell_end(bridge: StreamBridge, record: RunRecord, missed: Sequence[StreamEvent] = ()) -> None:
    """End the stream of a run that nobody executed, or whose executor was lost before it could. ``missed`` is what its
    readers are told first; the values in it are the run's output.

    In the name of a later attempt: what the lost one still says, should it wake up, is refused.
    """
    publisher = RunPublisher(bridge, record.run_id, record.attempt + 1)
    await publisher.open()
    for event in missed:
        await publisher.publish(event.event, event.data)
    output = next((event.data for event in missed if event.event == "values"), None)
    await publisher.end(*terminal_of(Outcome(record.status, failure=record.failure, output=output)))
