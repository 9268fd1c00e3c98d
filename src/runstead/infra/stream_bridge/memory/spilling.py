"""Move events from memory to files beyond a memory limit, and delete them beyond a disk limit.

The logs of ended runs are moved first, in the order of their ends, then the largest running ones. Each log has at most
one write at a time. While the disk cannot be written to, the same limits apply to memory alone: the logs that would
expire first are deleted early, and the oldest events of the largest running logs are dropped; their readers get a
notice of the gap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from runstead.runtime.clock import Clock

from .log import Meter, RunLog
from .spool import Spool, SpoolFile

MIB: Final = 1024 * 1024
_LOW: Final = 0.9
"""The share of a limit that stays in use after freeing space, so that not every event causes work."""
_HIGH: Final = 1.25
"""The multiple of the memory limit at which publishers wait for the disk."""
_JOB_BYTES: Final = 8 * MIB
"""Maximum bytes of one log written at once."""
_FILE_BYTES: Final = 16 * MIB
"""Size in bytes from which a log begins a new file, so that old files can be deleted as the window moves."""
_PATIENCE: Final = 1.0
"""Seconds that a publisher waits for the disk before events are dropped instead."""
_PAUSE: Final = 10.0
"""Seconds until a disk that could not be written to is tried again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SpillSettings:
    """Limits on memory and disk.

    ``memory_bytes``: approximate memory that the events of all logs may take before they are moved to files.
    ``disk_bytes``: maximum size of all files; if it is 0, or without a ``spool``, there are no files.
    """

    memory_bytes: int = 64 * MIB
    disk_bytes: int = 2048 * MIB
    spool: Spool | None = None

    def __post_init__(self) -> None:
        if self.memory_bytes < 1 or self.disk_bytes < 0:
            raise ValueError("memory_bytes must be at least 1, and disk_bytes cannot be negative")


class Spilling:
    """Keeps the logs of one bridge within their limits; without a spool, by dropping events.

    ``running`` returns the logs that have not ended, ``first_ended`` the wanted ended log that expires first;
    ``forget`` has the bridge delete a log.
    """

    def __init__(
        self,
        settings: SpillSettings,
        meter: Meter,
        clock: Clock,
        *,
        running: Callable[[], Iterable[RunLog]],
        first_ended: Callable[[Callable[[RunLog], bool]], RunLog | None],
        forget: Callable[[RunLog], None],
    ) -> None:
        """Create it. ``meter`` is the shared meter of the logs."""
        self.spool = settings.spool if settings.disk_bytes else None
        self._meter, self._clock = meter, clock
        self._running, self._first_ended, self._forget = running, first_ended, forget
        self._most_disk = settings.disk_bytes
        meter.limit = settings.memory_bytes
        self._goal, self._high = int(settings.memory_bytes * _LOW), int(settings.memory_bytes * _HIGH)
        # Bytes in blocks that are being written, and in files.
        self._writing = self._disk = 0
        # Ended logs with events in memory, in the order of their ends.
        self._ended: dict[str, RunLog] = {}
        self._latest: RunLog | None = None
        """The log that ended last: it is not deleted for lack of space, but loses its oldest events."""
        # Whether nothing more can be moved before a write has ended.
        self._is_stuck = False
        self._is_closed = False
        self._failed_at: float | None = None
        self._room = asyncio.Event()

    @property
    def memory(self) -> int:
        """Return the bytes of memory that events take, approximately."""
        return self._meter.used + self._writing

    @property
    def disk(self) -> int:
        """Return the bytes in files."""
        return self._disk

    async def start(self) -> None:
        """Prepare the spool; if its directory cannot be used, use memory only."""
        try:
            if self.spool is not None:
                await self.spool.start()
        except OSError as error:
            _log.warning("events of streams are kept in memory only: %s", error)
            self.spool = None

    def ended(self, log: RunLog) -> None:
        """Register the end of a log."""
        self._ended[log.run_id] = self._latest = log
        if self._meter.used > self._meter.limit:
            self._relieve()

    def forgotten(self, log: RunLog) -> None:
        """Delete the files of a log that the bridge has deleted. Its current readers can read on."""
        self._ended.pop(log.run_id, None)
        if self._latest is log:
            self._latest = None
        log.leave_meter()
        self._delete(log, log.blocks.files)

    async def make_room(self) -> None:
        """Free memory on behalf of a publisher. It waits briefly if events come faster than the disk takes them.

        If that is not enough, events are dropped.
        """
        self._relieve()
        if self._is_over:
            self._room.clear()
            if not await self._clock.wait(self._room, _PATIENCE):
                self._fail("it takes events more slowly than they come")
                self._relieve()
                self._room.set()

    def release(self, log: RunLog) -> None:
        """Delete the files of a log that its window has moved past."""
        self._delete(log, log.blocks.idle_files)

    async def close(self, logs: Iterable[RunLog]) -> None:
        """Delete all files; those with a reader can be read to their end."""
        was_closed, self._is_closed = self._is_closed, True
        self._room.set()
        if self.spool is not None and not was_closed:
            for log in logs:
                self._delete(log, log.blocks.files)
            await self.spool.close()

    # --- memory ----------------------------------------------------------------------------------------------------

    @property
    def _is_failing(self) -> bool:
        if self.spool is None:
            return True
        return self._failed_at is not None and self._clock.monotonic() - self._failed_at < _PAUSE

    @property
    def _is_over(self) -> bool:
        return self.memory > self._high and not self._is_failing and not self._is_closed

    def _relieve(self) -> None:
        if self._is_failing:
            self._drop()
        elif not self._is_stuck and not self._is_closed:
            self._spill()

    def _spill(self) -> None:
        for log in list(self._ended.values()):
            if self._meter.used <= self._goal:
                return
            self._write(log, 0)
        for log in sorted(self._running(), key=_cost_of, reverse=True):
            if self._meter.used <= self._goal:
                return
            self._write(log, self._kept_of(log))
        self._is_stuck = self._meter.used > self._goal and self._writing > 0

    def _drop(self) -> None:
        for log in list(self._ended.values()):
            if self._meter.used <= self._goal:
                return
            if log is not self._latest:
                self._forget(log)
        for log in sorted(self._lasting(), key=_cost_of, reverse=True):
            if self._meter.used <= self._goal:
                break
            log.drop_to(self._kept_of(log))

    def _lasting(self) -> Iterator[RunLog]:
        yield from self._running()
        if self._latest is not None:
            yield self._latest

    def _kept_of(self, log: RunLog) -> int:
        """Return the memory that a running log may keep to reach the goal, but at least a fourth of its memory."""
        return max(log.memory // 4, log.memory - (self._meter.used - self._goal))

    # --- files -----------------------------------------------------------------------------------------------------

    def _write(self, log: RunLog, keep: int) -> None:
        if log.blocks.writing or self.spool is None:
            return
        surplus = log.memory - keep
        if surplus > log.blocks.cost:
            log.pack(keep)
        blocks = log.begin_writing(min(surplus, _JOB_BYTES)) if surplus > 0 else ()
        if not log.has_more_to_write:
            self._ended.pop(log.run_id, None)
        if not blocks:
            return
        files = log.blocks.files
        if not files or files[-1].size >= _FILE_BYTES:
            files.append(self.spool.file())
        cost, file = sum(block.cost for block in blocks), files[-1]
        self._writing += cost
        for block in blocks:
            block.length += self.spool.overhead
        written = self.spool.write(file, file.size, [block.data or b"" for block in blocks])
        written.add_done_callback(partial(self._written, log, cost, file))

    def _written(self, log: RunLog, cost: int, file: SpoolFile, written: asyncio.Future[None]) -> None:
        self._writing -= cost
        self._is_stuck = False
        is_kept = file in log.blocks.files
        if written.cancelled() or (error := written.exception()) is not None:
            for block in log.blocks.writing:
                block.length -= 0 if self.spool is None else self.spool.overhead
            log.failed_writing()
            if is_kept:
                if log.terminal is not None:
                    self._ended[log.run_id] = log
                self._fail("the spool is closed" if written.cancelled() else str(error))
        else:
            end = log.blocks.wrote(file, file.size)
            if is_kept:
                self._disk += end - file.size
                file.size = end
            self._works()
        if is_kept:
            self.release(log)
            self._shrink()
        if self._meter.used > self._meter.limit:
            self._relieve()
        if not self._is_over:
            self._room.set()

    def _shrink(self) -> None:
        """Keep the files within their limit: ended logs are deleted early, then running ones lose their oldest file."""
        while self._disk > self._most_disk:
            leaver = self._first_ended(lambda log: bool(log.blocks.files) and log is not self._latest)
            if leaver is not None:
                self._forget(leaver)
                continue
            log = max(self._lasting(), key=_disk_of, default=None)
            if log is None or not log.blocks.files:
                return
            log.drop_file()
            self.release(log)
            if log.blocks.writing:
                return

    def _delete(self, log: RunLog, files: Sequence[SpoolFile]) -> None:
        assert self.spool is not None or not files
        for file in list(files):
            self._disk -= file.size
            log.blocks.files.remove(file)
            if self.spool is not None:
                self.spool.delete(file, is_read=log.gone is not None and bool(log.readers))

    def _fail(self, why: str) -> None:
        if self._failed_at is None:
            where = None if self.spool is None else self.spool.directory
            _log.warning("events of streams are not written to %s, the oldest ones are dropped: %s", where, why)
        self._failed_at, self._is_stuck = self._clock.monotonic(), False

    def _works(self) -> None:
        if self._failed_at is not None:
            self._failed_at = None
            _log.warning("events of streams are written to disk again")


def _cost_of(log: RunLog) -> int:
    return log.memory


def _disk_of(log: RunLog) -> int:
    return sum(file.size for file in log.blocks.files)
