"""Waiting for the end of a run: its last values, or its error. Returns at once for a run that has ended."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from runstead.runtime.runs.exceptions import AgentTimeout
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import RunRecord, RunResult
from runstead.runtime.storage_fault import StorageFault
from runstead.runtime.stream_bridge.contract import LIVE, StreamEvent, StreamItem
from runstead.runtime.stream_bridge.exceptions import StreamBridgeError

from .stream_service import ReadValues, RunStreamService

_KEPT_WITHIN: Final = 1.0
"""Seconds to wait for a kept terminal event. The record contains the result too."""

_log = logging.getLogger(__name__)


class RunWaitService:
    """Service that waits by reading the run's stream to its terminal event. The stored record is authoritative."""

    def __init__(self, runtime: RunsRuntime, streams: RunStreamService, read_values: ReadValues) -> None:
        self._runtime, self._streams, self._read_values = runtime, streams, read_values

    async def wait(self, record: RunRecord, *, is_new: bool = False) -> RunResult:
        """Return the result of the run when it has ended.

        Raises BridgeClosed when the server shuts down first, StorageFault or AgentTimeout when the values that the
        run left cannot be read at present.
        """
        if record.status.is_terminal:
            return await self._result(record, await self._kept_terminal(record))
        while True:
            terminal = await self._read_to_the_end(record, is_new=is_new)
            current = await self._runtime.query_store.get_run(record.run_id)
            if terminal is not None or current is None or current.status.is_terminal:
                return await self._result(current or record, terminal)
            # The stream was lost with its server. The run continues, so wait on.
            record, is_new = current, False

    async def _read_to_the_end(self, record: RunRecord, *, is_new: bool) -> StreamEvent | None:
        """Return the terminal event; None if the stream ended without one."""
        # The end cannot be missed: a live read of an ended stream returns its terminal event.
        async with await self._streams.open(record, last_event_id=LIVE, is_new=is_new) as stream:
            while items := await stream.read():
                if (terminal := _terminal_in(items)) is not None:
                    return terminal
        return None

    async def _result(self, record: RunRecord, terminal: StreamEvent | None) -> RunResult:
        if record.failure is not None:
            return RunResult(record, failure=record.failure)
        if terminal is not None and terminal.terminal == "end":
            return RunResult(record, output=terminal.data)
        try:
            return RunResult(record, output=await self._read_values(record))
        except (StorageFault, AgentTimeout):
            # The values exist, and a repeated request gets them.
            raise
        except Exception:
            # A graph that no longer loads must not make its finished runs fail.
            _log.warning("could not read the values of run %s", record.run_id, exc_info=True)
            return RunResult(record)

    async def _kept_terminal(self, record: RunRecord) -> StreamEvent | None:
        """Return the terminal event of an ended run if its stream is still kept and readable now."""
        bridge = self._runtime.bridge
        try:
            status = await bridge.status(record.run_id)
            if status is None or not status.is_terminal:
                return None
            # The event arrives at once. If the server became unavailable since the status check, only a heartbeat
            # arrives.
            subscription = await bridge.subscribe(record.run_id, LIVE, _KEPT_WITHIN)
            try:
                return _terminal_in(await subscription.read())
            finally:
                await subscription.aclose()
        except StreamBridgeError as error:
            _log.debug("the result of run %s is taken from its record: %s", record.run_id, error)
            return None


def _terminal_in(items: Sequence[StreamItem]) -> StreamEvent | None:
    return next((item for item in items if isinstance(item, StreamEvent) and item.terminal is not None), None)
