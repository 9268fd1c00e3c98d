"""The stream bridge of the embedded profile: one log per run in this process's memory and, beyond a limit, in files.

Everything here belongs to ONE event loop, the one on which `start` was called, and may only be called from it: that is
why there are no locks. A thread publishes through that loop (``call_soon_threadsafe``, ``run_coroutine_threadsafe``);
a call from another loop is refused.

Costs: publishing is one append and one wake-up for each waiting reader; reading copies references; an idle reader is
one future and one deadline in a shared heap. One task does all housekeeping.

The logs and their files are lost with the process. The rows in the database are the source of truth; the next attempt
opens the stream again, and a reader that returns with an old id gets a gap of unknown size.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from weakref import ref

from runstead.runtime.clock import Clock, SystemClock
from runstead.runtime.stream_bridge.contract import StreamStatus, TerminalKind
from runstead.runtime.stream_bridge.exceptions import (
    BridgeClosed,
    CapacityExceeded,
    StaleAttempt,
    StreamNotFound,
    StreamTerminated,
)
from runstead.runtime.stream_bridge.figures import StreamFigures

from ..offsets import most_events
from ..timers import SLACK, DeadlineScheduler
from .log import Meter, RunLog
from .log_reader import LogReader
from .retention_queue import RetentionQueue
from .spilling import Spilling, SpillSettings

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class MemoryStreamSettings:
    """Limits on the size and the lifetime of logs.

    ``window_events`` and ``window_bytes`` (of event data) limit the log of one run, whichever is reached first; None
    for no limit on the number of events. ``retention``: seconds that a log is kept after its end;
    ``awaiting_retention``: the same for a run that waits for human input. ``max_streams``: maximum number of logs,
    running and ended. ``retained_bytes`` limits the memory of all ended logs together: those that would expire first
    are deleted early. Running logs are never deleted for it. If the bridge may write to files, SpillSettings apply
    instead of this limit.
    """

    window_events: int | None = 20_000
    window_bytes: int = 16 * MIB
    retention: float = 300
    awaiting_retention: float = 2 * 60 * 60
    max_streams: int = 10_000
    retained_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        if min(most_events(self.window_events, self.window_bytes), self.window_bytes, self.max_streams) < 1:
            raise ValueError("window_events, window_bytes and max_streams must be at least 1")
        if min(self.retention, self.awaiting_retention, self.retained_bytes) < 0:
            raise ValueError("retention, awaiting_retention and retained_bytes cannot be negative")


class MemoryStreamBridge:
    """A StreamBridge in memory; its guarantees are in `runstead.runtime.stream_bridge.contract`."""

    def __init__(
        self,
        settings: MemoryStreamSettings | None = None,
        clock: Clock | None = None,
        spill: SpillSettings | None = None,
    ) -> None:
        self._settings = settings or MemoryStreamSettings()
        self._clock: Clock = clock or SystemClock()
        self._logs: dict[str, RunLog] = {}
        self._ended = RetentionQueue(self._settings.retention)
        self._awaiting = RetentionQueue(self._settings.awaiting_retention)
        self._alarms = DeadlineScheduler(self._clock)
        self._housekeeping: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._meter = Meter()
        self._spill = spill
        self._spilling: Spilling | None = None

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        settings: MemoryStreamSettings | None = None,
        clock: Clock | None = None,
        spill: SpillSettings | None = None,
    ) -> AsyncIterator[MemoryStreamBridge]:
        """Start a bridge, and close it at the end of the block."""
        bridge = cls(settings, clock, spill)
        await bridge.start()
        try:
            yield bridge
        finally:
            await bridge.close()

    def figures(self) -> StreamFigures:
        """Return the figures of this moment."""
        readers = [reader for log in self._logs.values() for reader in log.readers if isinstance(reader, LogReader)]
        return StreamFigures(
            streams=len(self._logs),
            readers=len(readers),
            lag=max((reader.lag for reader in readers), default=0),
            kept_bytes=self._meter.used,
        )

    async def start(self) -> None:
        if self._housekeeping is None:
            self._loop = asyncio.get_running_loop()
            if self._spill is not None:
                self._spilling = Spilling(
                    self._spill,
                    self._meter,
                    self._clock,
                    running=lambda: (log for log in self._logs.values() if log.terminal is None),
                    first_ended=self._first_ended,
                    forget=self._forget,
                )
                await self._spilling.start()
            self._housekeeping = asyncio.create_task(self._alarms.run(), name="stream-bridge-housekeeping")

    async def close(self) -> None:
        self._closed = True
        for log in self._logs.values():
            log.shut(BridgeClosed)
        if self._spilling is not None:
            await self._spilling.close(self._logs.values())
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.gather(self._housekeeping, return_exceptions=True)

    @property
    def bytes_in_memory(self) -> int:
        """Return the bytes of memory that events take, approximately; 0 without a limit for all logs together."""
        return 0 if self._spilling is None else self._spilling.memory

    @property
    def bytes_on_disk(self) -> int:
        return 0 if self._spilling is None else self._spilling.disk

    async def open(self, run_id: str, attempt: int = 1) -> None:
        self._check()
        log = self._logs.get(run_id)
        if log is None:
            self._make_room()
            settings = self._settings
            self._logs[run_id] = RunLog(
                run_id,
                attempt,
                max_events=most_events(settings.window_events, settings.window_bytes),
                max_bytes=settings.window_bytes,
                meter=self._meter,
                on_drop=None if self._spilling is None else self._spilling.release,
            )
        elif log.terminal is None and attempt > log.attempt:
            self._take_over(log, attempt)

    async def publish(self, run_id: str, event: str, data: bytes, *, attempt: int = 1) -> str:
        log = self._found(run_id)
        if log.terminal is not None:
            raise StreamTerminated(run_id)
        if attempt != log.attempt:
            self._succeed(log, attempt)
        event_id = log.append(event, data)
        if self._meter.used > self._meter.limit and self._spilling is not None:
            await self._spilling.make_room()
        return event_id

    async def publish_end(self, run_id: str, *, attempt: int = 1) -> str:
        return await self.publish_terminal(run_id, "end", b"null", attempt=attempt)

    async def publish_terminal(self, run_id: str, kind: TerminalKind, data: bytes, *, attempt: int = 1) -> str:
        log = self._found(run_id)
        if log.terminal is not None:
            return log.terminal.id
        if attempt != log.attempt:
            self._succeed(log, attempt)
        terminal_id = log.append_terminal(kind, data)
        self._retain(log)
        return terminal_id

    async def subscribe(
        self, run_id: str, last_event_id: str | None = None, heartbeat_interval: float | None = None
    ) -> LogReader:
        if heartbeat_interval is not None and heartbeat_interval <= 0:
            raise ValueError("a heartbeat interval is a positive number of seconds, or None for no heartbeats")
        log = self._found(run_id)
        spool = None if self._spill is None else self._spill.spool
        return LogReader(log, last_event_id, heartbeat_interval, self._clock, self._alarms, spool)

    async def status(self, run_id: str) -> StreamStatus | None:
        log = self._logs.get(run_id)
        return log.status if log else None

    async def list_open(self) -> Sequence[str]:
        return [log.run_id for log in self._logs.values() if log.terminal is None]

    async def mark_awaiting_input(self, run_id: str) -> None:
        log = self._logs.get(run_id)
        if log is not None and log.status is StreamStatus.ENDED:
            log.status = StreamStatus.AWAITING_INPUT
            self._retain(log)

    async def mark_answered(self, run_id: str) -> None:
        log = self._logs.get(run_id)
        if log is not None and log.status is StreamStatus.AWAITING_INPUT:
            log.status = StreamStatus.ENDED
            self._retain(log)

    async def cancel(self, run_id: str, *, attempt: int = 1) -> None:
        log = self._logs.get(run_id)
        if log is not None and log.terminal is None:
            await self.publish_terminal(run_id, "cancel", b"null", attempt=attempt)

    async def cleanup(self, run_id: str, delay: float = 0) -> None:
        log = self._logs.get(run_id)
        if log is None:
            return
        if delay <= 0:
            self._forget(log)
        else:
            # Weakly: a scheduled deletion must not keep alive a log that is deleted earlier.
            forget = partial(self._forget_attempt, ref(log), log.attempt)
            self._alarms.call_at(self._clock.monotonic() + delay, forget)

    def _check(self) -> None:
        if self._closed:
            raise BridgeClosed
        if self._loop is not None and asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("the memory stream bridge was called from another event loop than its own")

    def _found(self, run_id: str) -> RunLog:
        self._check()
        log = self._logs.get(run_id)
        if log is None:
            raise StreamNotFound(run_id)
        return log

    def _succeed(self, log: RunLog, attempt: int) -> None:
        """Accept a later attempt, which takes over; refuse an earlier one, which is stale."""
        if attempt < log.attempt:
            raise StaleAttempt(log.run_id, attempt, log.attempt)
        self._take_over(log, attempt)

    def _take_over(self, log: RunLog, attempt: int) -> None:
        log.take_over(attempt)

    def _retain(self, log: RunLog) -> None:
        """Keep the log for the retention period of its state: ended, or waiting for human input."""
        shelf = self._awaiting if log.status is StreamStatus.AWAITING_INPUT else self._ended
        self._ended.drop(log)
        self._awaiting.drop(log)
        shelf.put(log, self._clock.monotonic())
        self._arm(shelf)
        if self._spilling is not None:
            if log.terminal is not None:
                self._spilling.ended(log)
            return
        while self._ended.cost + self._awaiting.cost > self._settings.retained_bytes:
            leaver = self._first_ended(_is_any)
            if leaver is None or leaver is log:
                break
            self._forget(leaver)

    def _first_ended(self, wanted: Callable[[RunLog], bool]) -> RunLog | None:
        """Return the ended log that expires first among those that are ``wanted``."""

        def is_wanted(log: RunLog) -> bool:
            return log.terminal is not None and wanted(log)

        return self._ended.first(is_wanted) or self._awaiting.first(is_wanted)

    def _arm(self, shelf: RetentionQueue) -> None:
        leaves_at = shelf.next_expiry
        if leaves_at is not None and not shelf.armed:
            shelf.armed = True
            self._alarms.call_at(leaves_at, partial(self._clear, shelf))

    def _clear(self, shelf: RetentionQueue) -> None:
        shelf.armed = False
        for log in shelf.due(self._clock.monotonic() + SLACK):
            self._forget(log)
        self._arm(shelf)

    def _make_room(self) -> None:
        """Delete a log if the limit is reached: ended before waiting for input, without readers before with readers."""
        if len(self._logs) < self._settings.max_streams:
            return
        leaver = self._ended.first(_is_unread) or self._awaiting.first(_is_unread) or self._first_ended(_is_any)
        if leaver is None:
            raise CapacityExceeded(self._settings.max_streams)
        self._forget(leaver)

    def _forget(self, log: RunLog) -> None:
        """Delete a log. Readers that are in the middle of it hold the log object and read on."""
        del self._logs[log.run_id]
        self._ended.drop(log)
        self._awaiting.drop(log)
        log.shut(partial(StreamNotFound, log.run_id))
        if self._spilling is not None:
            self._spilling.forgotten(log)

    def _forget_attempt(self, log_ref: ref[RunLog], attempt: int) -> None:
        log = log_ref()
        # If a later attempt owns the stream by now, the deletion was meant for its predecessor.
        if log is not None and self._logs.get(log.run_id) is log and log.attempt == attempt:
            self._forget(log)


def _is_unread(log: RunLog) -> bool:
    return not log.readers


def _is_any(_: RunLog) -> bool:
    return True
