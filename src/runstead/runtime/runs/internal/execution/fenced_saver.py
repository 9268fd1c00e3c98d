"""Checkpointer for one attempt of a run: fenced by the lease, stamped with the run, usable from any loop.

Law 6: a late worker cannot write. Each write is checked immediately before it is made: in its own transaction if the
saver supports that, otherwise on the saver's own loop. A node that was frozen, abandoned or stopped therefore writes
nothing.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)

from runstead.runtime.backoff import retry
from runstead.runtime.blocking_saver import BlockingSaver
from runstead.runtime.runs.message_removals import MessageRemovals
from runstead.runtime.runs.steering import MessageId
from runstead.runtime.runs.types import Holder
from runstead.runtime.storage_fault import StorageFault

from ....json_types import JsonMapping, JsonObject
from .thread_wall import ThreadWall, thread_of
from .waiting_messages import DELIVERED_MESSAGES

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between retries while the disk is full."""

_PLACE: Final = frozenset(("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map"))
"""Keys of a configuration that identify the checkpoint."""
_TURNS: Final = 5
"""Turns of the event loop to wait for the start of a write that waited for another write: it needs two."""


def _pass() -> bool:
    return True


def fenced_store(store: Any | None, check: Callable[[], object], holder: Holder) -> object | None:
    """Return the item store fenced for one attempt if it is a FenceableStore, otherwise the store itself."""
    fenced = getattr(store, "fenced", None)
    return store if fenced is None else fenced(check, holder)


class StoredMessages(Protocol):
    """Steering messages that checkpoints contain. Called on any thread."""

    def stamp(self, config: JsonMapping, metadata: JsonMapping) -> Sequence[MessageId]:
        """Return the messages that a new checkpoint contains, for its metadata."""
        ...

    def stored(self, message_ids: Sequence[MessageId]) -> None:
        """Note that a checkpoint with these messages is stored."""
        ...


class PendingWrites:
    """Writes of an attempt that have begun and not yet ended, on any loop."""

    def __init__(self) -> None:
        self._writes: set[concurrent.futures.Future[None]] = set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count a write for the duration of a block."""
        ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._writes.add(ended)
        try:
            yield
        finally:
            self._writes.discard(ended)
            ended.set_result(None)

    async def ended(self) -> None:
        """Wait until no write is in progress, including writes that start when another write has ended."""
        quiet = 0
        while quiet < _TURNS:
            if writes := list(self._writes):
                quiet = 0
                await asyncio.wait([asyncio.wrap_future(each) for each in writes])
            else:
                quiet += 1
                await asyncio.sleep(0)


class FencedSaver(BlockingSaver[Any]):
    """Fenced saver: calls the real saver directly if it is a FenceableSaver, otherwise on the loop that it lives on.

    The metadata also say which step removed messages from the state; see `runstead.runtime.runs.message_removals`.

    ``guard`` runs on the home loop and raises LeaseLost if nothing may be written any more. ``check`` does the same
    from any thread, and returns False if only the guard can decide. Without a check, every write goes through the
    guard. ``stamp`` is added to the metadata of every checkpoint. ``holder`` identifies the lease holder to a shared
    database. ``hidden`` are keys of the configurable that are kept out of all metadata. A write that finds the disk
    full is retried until there is space, with ``sleep`` between the tries. ``save`` runs on the home loop before each
    write: what a step has done elsewhere, such as written files, is stored before the step counts as done. ``messages``
    are the steering messages of the attempt: checkpoints that contain one say so in their metadata. ``wall`` refuses
    threads of other users; without it, all threads can be used.
    """

    def __init__(
        self,
        inner: BaseCheckpointSaver[Any],
        home: asyncio.AbstractEventLoop,
        guard: Callable[[], Coroutine[object, object, None]],
        stamp: JsonObject,
        check: Callable[[], bool] | None = None,
        holder: Holder | None = None,
        hidden: frozenset[str] = frozenset(),
        writes: PendingWrites | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        removals: MessageRemovals | None = None,
        save: Callable[[], Awaitable[None]] | None = None,
        messages: StoredMessages | None = None,
        wall: ThreadWall | None = None,
    ) -> None:
        # Not through the parent's constructor: it would check again, and slowly, that this serializer is one.
        self.serde = inner.serde
        self._inner, self._home, self._guard, self._stamp, self._check = inner, home, guard, stamp, check
        self._holder, self._hidden, self._writes = holder, hidden, writes or PendingWrites()
        self._sleep, self._removals, self._save = sleep, removals or MessageRemovals(), save
        self._messages, self._wall = messages, wall
        fenced = getattr(inner, "fenced", None)
        self._direct: BaseCheckpointSaver[Any] | None = fenced(check or _pass, holder) if fenced is not None else None

    @property
    def config_specs(self) -> list[object]:
        return self._inner.config_specs

    def get_next_version(self, current: object, channel: None) -> object:
        return self._inner.get_next_version(current, channel)

    def with_allowlist(self, *args: Any, **kwargs: Any) -> FencedSaver:
        inner = self._inner.with_allowlist(*args, **kwargs)
        options = (self._home, self._guard, self._stamp, self._check, self._holder, self._hidden, self._writes)
        return FencedSaver(inner, *options, self._sleep, self._removals, self._save, self._messages, self._wall)

    async def writes_ended(self) -> None:
        """Wait until no write is in progress. LangGraph stores in the background, and a graph that is stopped while it
        ends leaves such writes running."""
        await self._writes.ended()

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        await self._check_thread(thread_of(config))
        saved = await self._read(lambda saver: saver.aget_tuple(config))
        self._removals.loaded(saved)
        return saved

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: JsonObject | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        if self._wall is not None:
            config = self._wall.limited(config)
            await self._check_thread(thread_of(config))

        async def collect(saver: BaseCheckpointSaver[Any]) -> list[CheckpointTuple]:
            return [item async for item in saver.alist(config, filter=filter, before=before, limit=limit)]

        for item in await self._read(collect):
            yield item

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        await self._check_thread(thread_of(config))
        stamped: Any = {**metadata, **self._stamp, **self._removals.stamp(config, checkpoint)}
        shown = self._without_hidden(config) if self._hidden else config
        if self._messages is None or not (delivered := self._messages.stamp(config, metadata)):
            return await self._write(lambda saver: saver.aput(shown, checkpoint, stamped, new_versions))
        stamped[DELIVERED_MESSAGES] = list(delivered)
        saved = await self._write(lambda saver: saver.aput(shown, checkpoint, stamped, new_versions))
        self._messages.stored(delivered)
        return saved

    def _without_hidden(self, config: RunnableConfig) -> RunnableConfig:
        """Return the config without hidden keys: savers copy the configurable into checkpoint metadata, which every
        reader of the thread sees."""
        # A client's context may contain keys that the saver needs, as DeerFlow's does with thread_id.
        hidden = self._hidden - _PLACE
        shown = {name: value for name, value in config["configurable"].items() if name not in hidden}
        return {**config, "configurable": shown}

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, object]], task_id: str, task_path: str = ""
    ) -> None:
        await self._check_thread(thread_of(config))
        self._removals.written(config, writes, task_path)
        await self._write(lambda saver: saver.aput_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        await self._check_thread(thread_id)
        await self._write(lambda saver: saver.adelete_thread(thread_id))

    async def aget_delta_channel_history(self, *, config: RunnableConfig, channels: Sequence[str]) -> Any:
        await self._check_thread(thread_of(config))
        return await self._read(lambda saver: saver.aget_delta_channel_history(config=config, channels=channels))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: JsonObject | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        async def collect() -> Sequence[CheckpointTuple]:
            return [item async for item in self.alist(config, filter=filter, before=before, limit=limit)]

        yield from self._wait(collect())

    async def _check_thread(self, thread_id: str | None) -> None:
        wall = self._wall
        if wall is not None and thread_id is not None and not wall.is_own(thread_id):
            await self._on_server_loop(lambda: wall.check(thread_id))

    async def _read(self, read: Callable[[BaseCheckpointSaver[Any]], Coroutine[object, object, T]]) -> T:
        if self._direct is not None:
            return await read(self._direct)
        return await self._on_server_loop(lambda: read(self._inner))

    async def _write(self, write: Callable[[BaseCheckpointSaver[Any]], Coroutine[object, object, T]]) -> T:
        with self._writes.one():
            return await retry(lambda: self._written(write), _PAUSES, self._sleep, self._failed)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, StorageFault) or error.kind != "full":
            raise error
        # The node's results must not be lost: it waits until there is space.
        _log.warning("run %s waits for disk space to store its state: %s", self._stamp.get("run_id"), error)

    async def _written(self, write: Callable[[BaseCheckpointSaver[Any]], Coroutine[object, object, T]]) -> T:
        if self._save is not None:
            await self._on_server_loop(self._saved)
        if self._direct is None or self._check is None:
            return await self._on_server_loop(lambda: self._guarded(write))
        if not self._check():
            await self._on_server_loop(self._guard)
        return await write(self._direct)

    async def _saved(self) -> None:
        if self._save is not None:
            # A late worker stores nothing elsewhere either.
            await self._guard()
            await self._save()

    async def _guarded(self, write: Callable[[BaseCheckpointSaver[Any]], Coroutine[object, object, T]]) -> T:
        await self._guard()
        return await write(self._inner)

    async def _on_server_loop(self, call: Callable[[], Coroutine[object, object, T]]) -> T:
        if asyncio.get_running_loop() is self._home:
            return await call()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), self._home))

    def _wait(self, doing: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(doing, self._home).result()
