"""RunCheckpointStore over a Database: langgraph's saver, undo records for rollbacks, and housekeeping.

The engines differ in where the tables are and in which writers are allowed: see `sqlite` and `postgres`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar, Final, TypeVar

from langgraph.checkpoint.serde.base import SerializerProtocol

from runstead.infra.storage.database import Database
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.store import ChannelBytes, CheckpointBytes
from runstead.runtime.runs.types import RunId, ThreadId

from . import maintenance, rollback
from .driver import Driver, driver_of
from .saver import SqlCheckpointSaver

T = TypeVar("T")


class SqlCheckpoints:
    """RunCheckpointStore over a Database. The saver and all methods may be used from any event loop."""

    _durable: ClassVar[bool] = True
    """True if each write is on disk when it returns; otherwise `sync` brings writes to disk."""

    def __init__(self, database: Database, saver: SqlCheckpointSaver) -> None:
        self._database, self._saver = database, saver

    @property
    def saver(self) -> SqlCheckpointSaver:
        return self._saver

    async def mark(self, thread_id: ThreadId, run_id: RunId) -> str | None:
        return await self._write(lambda driver: rollback.begin_undo_log(driver, thread_id, run_id), quick=True)

    async def undo(self, thread_id: ThreadId, run_id: RunId) -> None:
        await self._write(lambda driver: rollback.undo(driver, thread_id, run_id))

    async def forget_mark(self, thread_id: ThreadId, run_id: RunId) -> None:
        await self._write(lambda driver: rollback.discard(driver, thread_id, run_id), quick=True)

    async def delete_thread(self, thread_id: ThreadId) -> None:
        await self._write(lambda driver: maintenance.delete_thread(driver, thread_id))

    async def copy_thread(self, source: ThreadId, target: ThreadId) -> None:
        await self._write(lambda driver: maintenance.copy_thread(driver, source, target))

    async def keep_latest(self, thread_id: ThreadId) -> bool:
        return await self._write(lambda driver: keep_latest(driver, thread_id))

    async def measure(self, thread_id: ThreadId) -> CheckpointBytes:
        saver = self._saver
        found = await self._database.read(lambda connection: measure(driver_of(connection), saver.read_with, thread_id))
        if saver.read_with is saver.serde:
            return found
        # Values that handlers have encrypted are read page by page.
        versions = ChannelVersions(saver.serde)
        async for one in saver.alist({"configurable": {"thread_id": thread_id}}):
            versions.add(one.config["configurable"]["checkpoint_ns"], one.checkpoint)
        return replace(found, channels=versions.channels)

    async def sync(self) -> None:
        # Each write was durable when it returned.
        return

    async def _write(self, work: Callable[[Driver], T], *, quick: bool = False) -> T:
        return await self._database.write(
            lambda connection: work(driver_of(connection)), durable=self._durable, quick=quick
        )


def keep_latest(driver: Driver, thread_id: ThreadId) -> bool:
    """Prune the thread unless one of its runs could still be undone; return whether it was pruned."""
    if rollback.has_undo_log(driver, thread_id):
        return False
    maintenance.prune(driver, [thread_id], "keep_latest")
    return True


_BATCH: Final = 50
_CHECKPOINTS: Final = (
    "SELECT checkpoint_ns, type, checkpoint, length(checkpoint) + coalesce(length(metadata), 0)"
    " FROM checkpoints WHERE thread_id = ?"
)
_WRITES: Final = "SELECT count(*), coalesce(sum(length(value)), 0) FROM writes WHERE thread_id = ?"


def measure(driver: Driver, serde: SerializerProtocol, thread_id: ThreadId) -> CheckpointBytes:
    """Return the stored bytes of a thread. Each version of a channel counts once, though checkpoints repeat it.

    Checkpoints that ``serde`` does not decode count only in the total, without their channels.
    """
    count = stored = 0
    versions = ChannelVersions(serde)
    rows = driver.execute(_CHECKPOINTS, (thread_id,))
    while batch := rows.fetchmany(_BATCH):
        for namespace, kind, blob, size in batch:
            count, stored = count + 1, stored + int(size)
            # A damaged checkpoint also counts only in the total.
            with suppress(ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
                checkpoint = serde.loads_typed((kind, bytes(blob)))
                if isinstance(checkpoint, Mapping):
                    versions.add(namespace, checkpoint)
    writes, written = driver.execute(_WRITES, (thread_id,)).fetchone()
    return CheckpointBytes(count, stored, versions.channels, int(writes), int(written))


class ChannelVersions:
    """The channel versions in some checkpoints, and their size in bytes as encoded by ``serde``."""

    def __init__(self, serde: SerializerProtocol) -> None:
        self._serde = serde
        self._seen: set[tuple[str, str, object]] = set()
        self.channels: dict[str, ChannelBytes] = {}

    def add(self, namespace: str, checkpoint: JsonMapping) -> None:
        """Count the versions of a checkpoint that were not counted before."""
        values = checkpoint.get("channel_values") or {}
        for channel, version in (checkpoint.get("channel_versions") or {}).items():
            if (key := (namespace, channel, version)) in self._seen:
                continue
            self._seen.add(key)
            own = len(self._serde.dumps_typed(values[channel])[1]) if channel in values else 0
            before = self.channels.get(channel, ChannelBytes(0, 0))
            self.channels[channel] = ChannelBytes(before.versions + 1, before.size + own)
