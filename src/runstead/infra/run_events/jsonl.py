"""Run events as JSON lines: one file per thread, readable with grep and tail.

``{root}/{tenant}/{user}/threads/{thread}/events.jsonl``; see `runstead.infra.paths` for the mapping of ids to names.

For one process: it must be the only user of the root. All file work happens in a few threads of its own, never on the
event loop. Nothing is cached, so memory does not grow with threads or events; an append reads the end of its file, and
a page is read from the nearer end.

Durability: an acknowledged append survives the death of the process, however sudden, since the operating system has
the bytes by then. It survives a power cut only with ``fsync``, at the cost of a disk flush for each batch. A deletion
is always flushed. A batch that was cut off is invisible to readers and removed by the next append.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from threading import RLock
from typing import Any, Final, ParamSpec, TypeVar

import orjson

from runstead.infra.encryption.cipher import Cipher
from runstead.infra.paths import ThreadPaths, path_name
from runstead.private_files import make_directory, write_private
from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.store.event_store import RunEvent, RunEventCategory, StoredRunEvent
from runstead.runtime.runs.types import Holder, RunId, ThreadId

from .event_file import EventFile, Wanted

P = ParamSpec("P")
T = TypeVar("T")

_WORKERS: Final = 4
_LOCKS: Final = 64
"""A fixed number of locks, so that two threads may share one; then their writers also take turns."""


class JsonlRunEventStore:
    """A RunEventStore on files. A thread belongs to the actor that first wrote to it."""

    def __init__(self, root: Path, *, fsync: bool = False, cipher: Cipher | None = None) -> None:
        self._cipher = cipher
        self._paths = ThreadPaths(root)
        # A plain id never begins with a dot, so no tenant can have this name.
        self._owners = ThreadOwners(root / ".owners")
        self._fsync = fsync
        self._locks = tuple(RLock() for _ in range(_LOCKS))
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="run-events")

    @classmethod
    @asynccontextmanager
    async def open(
        cls, root: Path, *, fsync: bool = False, cipher: Cipher | None = None
    ) -> AsyncIterator[JsonlRunEventStore]:
        """Open a store and close it at the end of the block, after writes under way are complete.

        ``cipher`` encrypts the content and metadata of events.
        """
        store = cls(root, fsync=fsync, cipher=cipher)
        try:
            yield store
        finally:
            await store.close()

    async def close(self) -> None:
        await asyncio.to_thread(self._workers.shutdown)

    async def append(self, events: Sequence[RunEvent], *, holder: Holder | None = None) -> Sequence[StoredRunEvent]:
        # Files of one process: a worker that has lost its lease knows that here, without a fence.
        actor = require_actor_context("writing run events")
        batch = tuple(events)
        if not batch:
            return []
        thread_id = batch[0].thread_id
        if any(event.thread_id != thread_id for event in batch):
            raise ValueError("a batch of events belongs to one thread")
        return await self._in_worker(self._append, actor, thread_id, batch)

    async def list_events(
        self,
        thread_id: ThreadId,
        *,
        run_id: RunId | None = None,
        categories: Sequence[RunEventCategory] = (),
        event_types: Sequence[str] = (),
        after: int | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Sequence[StoredRunEvent]:
        actor = require_actor_context("reading run events")
        wanted = Wanted(run_id, frozenset(categories), frozenset(event_types), after, before, limit)
        return await self._in_worker(self._page, actor, thread_id, wanted)

    async def count_events(self, thread_id: ThreadId, *, categories: Sequence[RunEventCategory] = ()) -> int:
        actor = require_actor_context("reading run events")
        return await self._in_worker(self._count, actor, thread_id, frozenset(categories))

    async def delete_events(self, thread_id: ThreadId, *, run_id: RunId | None = None) -> int:
        actor = require_actor_context("deleting run events")
        return await self._in_worker(self._delete, actor, thread_id, run_id)

    async def delete_threads(self, thread_ids: Sequence[ThreadId]) -> None:
        for thread_id in thread_ids:
            await self._in_worker(self._forget, thread_id)

    async def delete_before(self, cutoff: datetime) -> int:
        """Delete the events of threads whose last event is from before ``cutoff``."""
        return await self._in_worker(self._delete_before, cutoff)

    def _forget(self, thread_id: ThreadId) -> None:
        if not thread_id or (owner := self._owners.owner_of(thread_id)) is None:
            return
        folder = self._paths.of_names(*owner, thread_id)
        with self._locks[hash(thread_id) % _LOCKS]:
            self._paths.check(folder / "events.jsonl").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                # Empty, unless other files of the thread are in it.
                folder.rmdir()
            self._owners.forget(thread_id)

    def _delete_before(self, cutoff: datetime) -> int:
        deleted = 0
        for thread_id, owner in self._owners.all():
            path = self._paths.check(self._paths.of_names(*owner, thread_id) / "events.jsonl")
            file = EventFile(path, thread_id, self._locks[hash(thread_id) % _LOCKS], self._cipher)
            with file.lock:
                if path.exists() and path.stat().st_mtime < cutoff.timestamp():
                    deleted += file.delete(None)
        return deleted

    def _append(self, actor: ActorContext, thread_id: ThreadId, batch: Sequence[RunEvent]) -> list[StoredRunEvent]:
        file = self._file(actor, thread_id)
        if file is None:
            raise ThreadNotFound(thread_id)
        with file.lock:
            if not file.exists() and not self._owners.claim(thread_id, actor):
                raise ThreadNotFound(thread_id)
            return file.append(batch, fsync=self._fsync)

    def _page(self, actor: ActorContext, thread_id: ThreadId, wanted: Wanted) -> list[StoredRunEvent]:
        file = self._file(actor, thread_id)
        return file.page(wanted) if file else []

    def _count(self, actor: ActorContext, thread_id: ThreadId, categories: frozenset[str]) -> int:
        file = self._file(actor, thread_id)
        return file.count(categories) if file else 0

    def _delete(self, actor: ActorContext, thread_id: ThreadId, run_id: RunId | None) -> int:
        file = self._file(actor, thread_id)
        return file.delete(run_id) if file else 0

    def _file(self, actor: ActorContext, thread_id: ThreadId) -> EventFile | None:
        """Return the file of a thread that ``actor`` has access to, existing or not; None for an empty id."""
        if not thread_id:
            return None
        folder = self._paths.folder(actor, thread_id)
        if (writer := self._owners.shared_by(thread_id, actor)) is not None:
            folder = self._paths.of_names(*writer, thread_id)
        lock = self._locks[hash(thread_id) % _LOCKS]
        return EventFile(self._paths.check(folder / "events.jsonl"), thread_id, lock, self._cipher)

    async def _in_worker(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._workers, lambda: work(*args, **kwargs))


class ThreadOwners:
    """One small file for each thread. Blocking; not for concurrent calls for the same thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def claim(self, thread_id: ThreadId, actor: ActorContext) -> bool:
        """Return whether ``actor`` owns the thread, possibly from now on, or has access to it."""
        make_directory(self._folder)
        marker = self._marker(thread_id)
        mine = [path_name(actor.tenant_id), path_name(actor.user_id)]
        owner = _owner_on(marker)
        if owner is not None:
            return bool(owner == mine) or self.shared_by(thread_id, actor) is not None
        # No owner yet, or cut off by a crash before the thread's first event: write it atomically.
        written = marker.with_name(f"{marker.name}.{os.getpid()}")
        write_private(written, orjson.dumps(mine))
        written.replace(marker)
        return True

    def shared_by(self, thread_id: ThreadId, actor: ActorContext) -> tuple[str, str] | None:
        """Return the folder names of the owner's tenant and user if ``actor`` has access to the thread by its id."""
        if thread_id not in actor.access_scope.thread_ids or (owner := _owner_on(self._marker(thread_id))) is None:
            return None
        tenant, user = owner
        return (tenant, user) if tenant == path_name(actor.tenant_id) else None

    def owner_of(self, thread_id: ThreadId) -> tuple[str, str] | None:
        """Return the folder names of the owner's tenant and user; None if the thread has no owner."""
        owner = _owner_on(self._marker(thread_id))
        return None if owner is None else (owner[0], owner[1])

    def forget(self, thread_id: ThreadId) -> None:
        """Delete the record of a thread's owner."""
        self._marker(thread_id).unlink(missing_ok=True)

    def all(self) -> Iterator[tuple[ThreadId, tuple[str, str]]]:
        """Yield the threads whose ids are plain, as those of the server are, with their owners."""
        for marker in self._folder.iterdir() if self._folder.exists() else ():
            if path_name(marker.name) == marker.name and (owner := self.owner_of(ThreadId(marker.name))) is not None:
                yield ThreadId(marker.name), owner

    def _marker(self, thread_id: ThreadId) -> Path:
        return self._folder / path_name(thread_id)


def _owner_on(marker: Path) -> Any:
    try:
        return orjson.loads(marker.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
