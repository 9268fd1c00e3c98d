"""langgraph's checkpoint saver over a Database: SQLite with group commit, or PostgreSQL with a pool.

The stock savers have one connection behind one lock: each write waits for all others, and a run that is cancelled
between a write and its commit leaves half of its work to the next commit. Here each write is one atomic unit of work
for the engine, and reads run concurrently. The saver may be used from any event loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from sqlalchemy import Connection

from runstead.infra.storage.database import Database
from runstead.resources.storage_errors import StorageBusy, StorageDemoted, StorageUnavailable
from runstead.runtime.backoff import retry
from runstead.runtime.blocking_saver import BlockingSaver
from runstead.runtime.field_encryption import FieldCipher
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.types import Holder, RunId, ThreadId
from runstead.runtime.serialization import written_out

from . import maintenance, postgres_writes, queries
from .driver import REPLACING_CHECKPOINT, REPLACING_WRITE, Driver, driver_of
from .encrypted import metadata_text
from .handler_encryption import HandlerEncryptedValues
from .postgres_writes import WritesUnderWay
from .rollback import record_checkpoint, record_writes
from .serde import CheckpointSerializer
from .unkept_values import UnstorableValue

T = TypeVar("T")
_log = logging.getLogger(__name__)

_ERROR: Final = "__error__"
"""The channel in which langgraph stores the error of a task (langgraph.constants, private there)."""

_LONGEST_ERROR: Final = 100_000
"""Maximum number of characters stored of an error."""

PAGE: Final = 50
"""Number of checkpoints that `alist` reads at a time, so that a long history is never in memory completely."""

_QUICK: Final = 64 * 1024
"""Bytes of a value that are written as quickly as they are handed to another thread."""

_PAUSES: Final = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds between attempts while the storage is unavailable; the last value repeats."""

_PUT: Final = f"""
    INSERT INTO checkpoints (
        thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata, run_id, position
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, (
        SELECT 1 + coalesce(max(latest), 0) FROM (
            SELECT max(position) AS latest FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?
            UNION ALL SELECT max(position) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''
        ) AS spaces
    )) {REPLACING_CHECKPOINT}
"""
"""A new checkpoint comes after all others of its namespace, and after those of the root namespace that were stored
before it.
"""
_PUT_WRITES: Final = """
    INSERT INTO writes (
        thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ONCE: Final = f"{_PUT_WRITES} ON CONFLICT DO NOTHING"
_LATEST: Final = f"{_PUT_WRITES} {REPLACING_WRITE}"


class SqlCheckpointSaver(BlockingSaver[str]):
    """BaseCheckpointSaver over a Database that has the tables.

    ``near``: reads and small writes are so quick that an agent's event loop does them itself, without a thread. Without
    ``durable``, writes are not yet on disk when they return (see RunCheckpointStore.sync). ``hold`` raises LeaseLost,
    in a transaction, if the holder no longer holds the run's lease. ``under_way``: on PostgreSQL, whose statements are
    round trips: writes of a holder and reads are one statement each. ``field_cipher`` encrypts values and metadata, in
    addition to what ``serde`` does.
    """

    def __init__(
        self,
        database: Database,
        *,
        serde: SerializerProtocol | None = None,
        near: bool = False,
        hold: Callable[[Connection, Holder], None] | None = None,
        under_way: WritesUnderWay | None = None,
        durable: bool = True,
        field_cipher: FieldCipher | None = None,
    ) -> None:
        super().__init__(serde=serde or CheckpointSerializer())
        self._handled = None if field_cipher is None else HandlerEncryptedValues(field_cipher, self.serde)
        self.read_with: SerializerProtocol = self.serde if self._handled is None else self._handled.stored
        self._database = database
        self._near, self._hold, self._under_way, self._durable = near, hold, under_way, durable
        self._holder: Holder | None = None
        self._loop = asyncio.get_running_loop()
        self._check: Callable[[], object] | None = None

    def fenced(self, check: Callable[[], object], holder: Holder | None = None) -> SqlCheckpointSaver:
        """Return the same saver with a check in the transaction of each write, before the write; see FenceableSaver."""
        # By hand: copy.copy takes as long as a write, and this is done for every run.
        fenced = object.__new__(type(self))
        fenced.__dict__.update(self.__dict__)
        fenced._check, fenced._holder = check, holder
        return fenced

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        if self._under_way is None:
            found = await self._read(lambda driver: queries.get(driver, self.read_with, config))
        else:
            found = await self._read(lambda driver: queries.get_at_once(driver, self.read_with, config), single=True)
        if found is None or self._handled is None:
            return found
        return (await self._unsealed(self._handled, [found]))[0]

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: JsonObject | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        wanted = queries.Wanted.of(config, before)
        given = 0
        after: queries.Place | None = None
        while limit is None or given < limit:
            page, after = await self._page(wanted, after, filter, _size(limit, given, filter))
            for found in page:
                yield found
                given += 1
                if given == limit:
                    return
            if after is None:
                return

    async def _page(
        self, wanted: queries.Wanted, after: queries.Place | None, filter: JsonMapping | None, size: int
    ) -> tuple[list[CheckpointTuple], queries.Place | None]:
        handled = self._handled
        kept = (filter or {}) if handled is None else {}
        found, after = await self._read(lambda driver: queries.page(driver, self.read_with, wanted, after, kept, size))
        if handled is None:
            return found, after
        # The filter is applied after decryption.
        plain = await self._unsealed(handled, found)
        return [one for one in plain if queries.has_all(one.metadata, filter or {})], after

    async def _unsealed(
        self, handled: HandlerEncryptedValues, found: Sequence[CheckpointTuple]
    ) -> Sequence[CheckpointTuple]:
        plain, replaced = await handled.unsealed(found)
        if replaced:

            def work(connection: Connection) -> None:
                for one, replacements in replaced:
                    handled.replace(driver_of(connection), self.serde, one, replacements)

            # On behalf of the reader: this does not change any value, so no run's fence applies.
            await self._with_retries(lambda: self._database.write(work, durable=self._durable))
        return plain

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        place = config["configurable"]
        thread_id, namespace, checkpoint_id = str(place["thread_id"]), place.get("checkpoint_ns", ""), checkpoint["id"]
        described: JsonMapping = get_checkpoint_metadata(config, metadata)
        run_id = described.get("run_id")
        # Encoded before the first await: the graph goes on changing its state.
        value = self._dumps(checkpoint)
        if self._handled is not None:
            described = await self._handled.sealed_metadata(described)
            [value] = await self._handled.sealed("checkpoint", [value])
        row = (
            thread_id,
            namespace,
            checkpoint_id,
            place.get("checkpoint_id"),
            *value,
            metadata_text(self.serde, described),
            run_id,
        )

        def work(driver: Driver) -> None:
            record_checkpoint(driver, ThreadId(thread_id), namespace, checkpoint_id)
            driver.execute(_PUT, (*row, thread_id, namespace, thread_id))

        if (holder := self._holder) is not None and self._under_way is not None:
            await self._write_at_once(lambda driver: postgres_writes.put_checkpoint(driver, holder, row))
        else:
            await self._write(work, size=len(value[1]))
        return {
            "configurable": {
                "thread_id": place["thread_id"],
                "checkpoint_ns": namespace,
                "checkpoint_id": checkpoint_id,
            }
        }

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, object]], task_id: str, task_path: str = ""
    ) -> None:
        place = config["configurable"]
        key = (ThreadId(str(place["thread_id"])), str(place.get("checkpoint_ns", "")), str(place["checkpoint_id"]))
        indexed = [(WRITES_IDX_MAP.get(channel, i), channel, value) for i, (channel, value) in enumerate(writes)]
        values = [self._dumped(channel, value) for _, channel, value in indexed]
        if self._handled is not None:
            values = await self._handled.sealed("writes", values)
        rows = [
            (*key, task_id, task_path, index, channel, *value)
            for (index, channel, _), value in zip(indexed, values, strict=True)
        ]
        # A special channel keeps the latest value; an ordinary write of a task is made once.
        latest = all(channel in WRITES_IDX_MAP for channel, _ in writes)

        def work(driver: Driver) -> None:
            record_writes(driver, *key, [(task_id, index) for index, _, _ in indexed])
            driver.executemany(_LATEST if latest else _ONCE, rows)

        if (holder := self._holder) is not None and self._under_way is not None:
            task = (task_id, task_path)
            given = [(index, channel, value) for (index, channel, _), value in zip(indexed, values, strict=True)]
            await self._write_at_once(
                lambda driver: postgres_writes.put_writes(driver, holder, key, task, given, latest=latest)
            )
        else:
            await self._write(work, size=sum(len(value) for _, value in values))

    def _dumped(self, channel: str, value: object) -> tuple[str, bytes]:
        if channel == _ERROR and isinstance(value, BaseException):
            # The error of a task, which langgraph stores as text: `ErrorRedactor.of_task` reads it.
            value = written_out(value, _LONGEST_ERROR)
        try:
            return self._dumps(value)
        except UnstorableValue:
            # Again, for an error that also names the channel.
            return self._dumps({channel: value})

    def _dumps(self, value: object) -> tuple[str, bytes]:
        return (self.serde if self._handled is None else self._handled).dumps_typed(value)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._write(lambda driver: maintenance.delete_thread(driver, ThreadId(str(thread_id))))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self._write(lambda driver: maintenance.delete_for_runs(driver, [RunId(run_id) for run_id in run_ids]))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._write(
            lambda driver: maintenance.copy_thread(driver, ThreadId(source_thread_id), ThreadId(target_thread_id))
        )

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await self._write(
            lambda driver: maintenance.prune(driver, [ThreadId(thread_id) for thread_id in thread_ids], strategy)
        )

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        if not channels:
            return {}
        if self._handled is not None:
            # Sequentially, since each checkpoint has to be decrypted.
            return await super().aget_delta_channel_history(config=config, channels=channels)
        return await self._read(lambda driver: queries.delta_history(driver, self.serde, config, channels))

    # The synchronous methods beside those of BlockingSaver.

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: JsonObject | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        wanted = queries.Wanted.of(config, before)
        given = 0
        after: queries.Place | None = None
        while limit is None or given < limit:
            page, after = self._wait(self._page(wanted, after, filter, _size(limit, given, filter)))
            kept = page if limit is None else page[: limit - given]
            yield from kept
            given += len(kept)
            if after is None:
                return

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._wait(self.adelete_for_runs(run_ids))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._wait(self.acopy_thread(source_thread_id, target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self._wait(self.aprune(thread_ids, strategy=strategy))

    def get_next_version(self, current: str | None, channel: None) -> str:
        version = 0 if current is None else int(str(current).split(".")[0])
        return f"{version + 1:032}.{random.random():016}"

    async def _read(self, work: Callable[[Driver], T], *, single: bool = False) -> T:
        here = self._is_near()
        return await self._with_retries(
            lambda: self._database.read(lambda connection: work(driver_of(connection)), quick=here, single=single)
        )

    async def _write_at_once(self, work: Callable[[Driver], T]) -> T:
        """Return the result of ``work``, one statement that checks by itself whether the holder holds the run."""
        holder, under_way = self._holder, self._under_way
        assert holder is not None, "only an attempt writes so"
        assert under_way is not None, "only PostgreSQL has such statements"

        def checked(connection: Connection) -> T:
            with under_way.checked(holder.run_id, self._check):
                return work(driver_of(connection))

        return await self._with_retries(lambda: self._database.write(checked, single=True))

    async def _write(self, work: Callable[[Driver], T], *, size: int | None = None) -> T:
        """Return the result of ``work``, which writes values of ``size`` bytes; None if that is not known."""

        def checked(connection: Connection) -> T:
            if self._hold is not None and self._holder is not None:
                self._hold(connection, self._holder)
            # After it: ending an attempt first sets what the check reads, and then waits for the holders of the row
            # lock.
            if self._check is not None:
                self._check()
            return work(driver_of(connection))

        quick = size is not None and size <= _QUICK and self._is_near()
        return await self._with_retries(lambda: self._database.write(checked, durable=self._durable, quick=quick))

    def _is_near(self) -> bool:
        # An agent's loop works by itself: it waits for the result anyway. The server's loop must not block.
        return self._near and asyncio.get_running_loop() is not self._loop

    async def _with_retries(self, do: Callable[[], Coroutine[object, object, T]]) -> T:
        """Repeat ``do`` for an attempt of a run while the storage is unavailable: that must not fail the run.

        ``do`` must be idempotent. Ends when the storage is available again, or with the attempt.
        """

        def failed(error: Exception) -> None:
            passes = isinstance(error, (StorageUnavailable, StorageBusy, StorageDemoted))
            if not passes or self._holder is None or self._check is None:
                raise error
            _log.warning("the storage is unavailable; run %s waits for it", self._holder.run_id, exc_info=True)

        async def wait(seconds: float) -> None:
            await asyncio.sleep(seconds)
            if self._check is not None:
                self._check()

        return await retry(do, _PAUSES, wait, failed)

    def _wait(self, doing: Coroutine[object, object, T]) -> T:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop or (self._handled is not None and self._handled.cipher.is_here):
            doing.close()
            raise asyncio.InvalidStateError("this would block the event loop it waits for; use the async method")
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result()


def _size(limit: int | None, given: int, filter: JsonMapping | None) -> int:
    """Return how many checkpoints to read next: a whole page if a filter may exclude some of them."""
    return PAGE if limit is None or filter else max(1, min(PAGE, limit - given))
