"""Publisher of one attempt's events. If the stream fails, live streaming is lost, but the run continues."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from runstead.runtime.runs.types import Outcome, RunId, RunRecord, RunStatus
from runstead.runtime.serialization import encode
from runstead.runtime.stream_bridge.contract import StreamBridge, StreamEvent, TerminalKind
from runstead.runtime.stream_bridge.exceptions import StaleAttempt, StreamBridgeError, StreamTerminated

_log = logging.getLogger(__name__)


class RunPublisher:
    """Writing side of one attempt's stream."""

    def __init__(self, bridge: StreamBridge, run_id: RunId, attempt: int) -> None:
        self._bridge, self._run_id, self._attempt = bridge, run_id, attempt
        self._failing = False
        self.superseded = False
        """True if a higher attempt publishes: this attempt has lost its run."""

    async def open(self) -> None:
        """Open the stream for this attempt; earlier attempts can no longer publish."""
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
        """Mark the stream, which has ended, as waiting for human input."""
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
        # Logged once per series of failures: otherwise every token would add a log line while the stream is down.
        if not self._failing:
            expected = isinstance(error, StreamBridgeError)
            _log.warning(
                "run %s continues without its stream: %s", self._run_id, error, exc_info=None if expected else error
            )
        self._failing = True


def terminal_kind(outcome: Outcome) -> tuple[TerminalKind, bytes]:
    """Return the kind and data of the terminal event for an outcome; an ``end`` event carries the run's output."""
    if outcome.failure is not None:
        return "error", encode(outcome.failure.to_json())
    if outcome.status is RunStatus.INTERRUPTED:
        return "cancel", b"null"
    return "end", outcome.output or b"null"


async def publish_terminal_for(bridge: StreamBridge, record: RunRecord, missed: Sequence[StreamEvent] = ()) -> None:
    """Publish the terminal event of a run that was never executed, or whose worker died before it could.

    ``missed`` are events that readers receive first; the values among them are the run's output. The events are
    published under the number of a later attempt, so that the bridge refuses further events of the lost worker.
    """
    publisher = RunPublisher(bridge, record.run_id, record.attempt + 1)
    await publisher.open()
    for event in missed:
        await publisher.publish(event.event, event.data)
    output = next((event.data for event in missed if event.event == "values"), None)
    await publisher.end(*terminal_kind(Outcome(record.status, failure=record.failure, output=output)))
    if output is not None and b'"__interrupt__"' in output:
        # Ignored for a run that was stopped or failed.
        await publisher.awaiting_input()
