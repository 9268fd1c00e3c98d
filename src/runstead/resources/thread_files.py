"""Files under the bound actor: access to a thread is access to its files, which belong to its owner; a user's memory
belongs to the user alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from runstead.runtime.actor_context import ActorContext, require_actor_context
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.types import RunRecord, ThreadId
from runstead.workspace import FileEntry, FileStore, OpenFile, bound_workspace


class ThreadOwnerStore(Protocol):
    """Owners of threads."""

    async def owner_of(self, thread_id: ThreadId) -> ActorContext | None:
        """Return the owner of a thread; None if the bound actor has no access to it, or if it is missing."""
        ...


class ThreadFiles:
    """Files of threads that the bound actor has access to. Every method raises ThreadNotFound for others.

    A ``thread_id`` of None stands for the actor's own memory.
    """

    def __init__(self, owners: ThreadOwnerStore, store: FileStore) -> None:
        self._owners, self._store = owners, store

    async def list(self, thread_id: ThreadId | None) -> Sequence[FileEntry]:
        return await self._store.list(await self._owner(thread_id), thread_id)

    async def write(self, thread_id: ThreadId | None, path: str, chunks: AsyncIterator[bytes]) -> FileEntry:
        return await self._store.write(await self._owner(thread_id), thread_id, path, chunks)

    async def open(self, thread_id: ThreadId | None, path: str) -> OpenFile:
        return await self._store.open(await self._owner(thread_id), thread_id, path)

    async def archive(self, thread_id: ThreadId | None) -> OpenFile:
        return await self._store.archive(await self._owner(thread_id), thread_id)

    async def delete(self, thread_id: ThreadId | None, path: str) -> bool:
        return await self._store.delete(await self._owner(thread_id), thread_id, path)

    async def check_access(self, thread_id: ThreadId | None) -> None:
        """Raise ThreadNotFound unless the actor has access to the thread."""
        await self._owner(thread_id)

    async def delete_thread(self, thread_id: ThreadId) -> None:
        """Delete all files of a thread."""
        await self._store.delete_thread(thread_id, await self._owner(thread_id))

    async def delete_files_of(self, thread_id: ThreadId, owner: ActorContext | None) -> None:
        """Delete all files of a thread that is gone already, without a check of access."""
        await self._store.delete_thread(thread_id, owner)

    @asynccontextmanager
    async def around_run(self, run: RunRecord) -> AsyncIterator[Callable[[], Awaitable[None]] | None]:
        """Make the thread's workspace the current one while a run executes; yield what saves it, if that is needed."""
        owner = await self._owners.owner_of(run.thread_id) or run.actor
        async with self._store.working(owner, run.thread_id) as files:
            with bound_workspace(files.workspace):
                yield files.save

    async def _owner(self, thread_id: ThreadId | None) -> ActorContext:
        if thread_id is None:
            return require_actor_context("using files")
        if (owner := await self._owners.owner_of(thread_id)) is None:
            raise ThreadNotFound(thread_id)
        return owner
