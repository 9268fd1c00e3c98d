"""A run's local copy of a thread's files and of its owner's memory, where the files are in an object store.

The copy is made before the run's code executes, and deleted after it; files that an earlier run of this process had in
the same version are not read again. What the run has changed is stored whenever it is saved. Two runs of one user at
the same time have copies of their own: of a file in the memory that both change, the one that is saved last stays.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from os import stat_result
from pathlib import Path
from typing import Final, NamedTuple, Protocol, Self

from runstead.private_files import make_directory
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import ThreadId
from runstead.workspace import MEMORY, FileChanged, FileEntry, InvalidFilePath, Workspace, parts_of

from .file_cache import FileCache
from .keys import root_key
from .safe_tree import SafeTree

_AT_ONCE: Final = 8
"""Files that are copied at the same time."""

_log = logging.getLogger(__name__)


class RemoteFiles(Protocol):
    """The store of which a copy is made."""

    async def list(self, owner: ActorContext, thread_id: ThreadId | None) -> Sequence[FileEntry]: ...

    async def download(
        self, owner: ActorContext, thread_id: ThreadId | None, entry: FileEntry, target: Path
    ) -> None: ...

    async def put(self, owner: ActorContext, thread_id: ThreadId | None, path: str, file: Path) -> str | None:
        """Store a local file; return its version."""
        ...

    async def delete(self, owner: ActorContext, thread_id: ThreadId | None, path: str) -> bool: ...


class _State(NamedTuple):
    """State of a local file by which a change is found."""

    size: int
    modified: int
    inode: int

    @classmethod
    def of(cls, state: stat_result) -> Self:
        return cls(state.st_size, state.st_mtime_ns, state.st_ino)


class WorkingCopy:
    """The local copy. ``workspace`` has its folders."""

    def __init__(
        self, remote: RemoteFiles, cache: FileCache, owner: ActorContext, thread_id: ThreadId, root: Path
    ) -> None:
        self._cache = cache
        self._remote, self._owner, self._thread_id, self._root = remote, owner, thread_id, root
        self.workspace = Workspace(root / "thread", root / "user" / MEMORY)
        self._saved: dict[tuple[bool, str], _State] = {}
        self._refused: set[str] = set()
        self._saving = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, remote: RemoteFiles, cache: FileCache, owner: ActorContext, thread_id: ThreadId
    ) -> AsyncIterator[Self]:
        """Copy the files for the duration of a block."""
        root = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="runstead-files-"))
        try:
            copy = cls(remote, cache, owner, thread_id, root)
            await copy._fetch()
            yield copy
        finally:
            # Abandoned code may still write there.
            await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)

    async def save(self) -> None:
        """Store what has changed since the last call: new files, other content, and deletions."""
        async with self._saving:
            found = await asyncio.to_thread(lambda: dict(self._walk()))
            for place, state in found.items():
                if self._saved.get(place) != state and self._is_storable(place[1]):
                    await self._put(place)
                    self._saved[place] = state
            for place in [place for place in self._saved if place not in found]:
                await self._remote.delete(self._owner, self._thread(place), place[1])
                del self._saved[place]

    async def _put(self, place: tuple[bool, str]) -> None:
        file, thread_id = self._file(place), self._thread(place)
        # From a copy, if there is one: the run's code may write on while the file is stored.
        staged = await self._cache.stage(file)
        if staged is None:
            await self._remote.put(self._owner, thread_id, place[1], file)
            return
        try:
            version = await self._remote.put(self._owner, thread_id, place[1], staged)
        except BaseException:
            await self._cache.drop(staged)
            raise
        await self._cache.keep(staged, self._key(thread_id, place[1]), version)

    async def _fetch(self) -> None:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def fetch(thread_id: ThreadId | None, entry: FileEntry) -> None:
            target = self._file((thread_id is None, entry.path))
            async with limit:
                await asyncio.to_thread(make_directory, target.parent)
                key = self._key(thread_id, entry.path)
                if await self._cache.fetch(key, entry.version, target):
                    return
                try:
                    await self._remote.download(self._owner, thread_id, entry, target)
                    if (staged := await self._cache.stage(target)) is not None:
                        await self._cache.keep(staged, key, entry.version)
                except FileChanged:
                    # Replaced at this moment, so it is read anew with the others, or deleted.
                    await asyncio.to_thread(target.unlink, missing_ok=True)
                    _log.info("a file was changed while it was copied for a run; the run does not see it")

        for folder in (self._root / "thread", self._root / "user"):
            await asyncio.to_thread(make_directory, folder)
        async with asyncio.TaskGroup() as tasks:
            for thread_id in (self._thread_id, None):
                for entry in await self._remote.list(self._owner, thread_id):
                    tasks.create_task(fetch(thread_id, entry))
        self._saved = await asyncio.to_thread(lambda: dict(self._walk()))

    def _walk(self) -> Iterator[tuple[tuple[bool, str], _State]]:
        for is_memory, name in ((False, "thread"), (True, "user")):
            for parts, state in SafeTree(self._root / name).walk():
                yield (is_memory, "/".join(parts)), _State.of(state)

    def _key(self, thread_id: ThreadId | None, path: str) -> str:
        return f"{root_key(self._owner, thread_id)}/{path}"

    def _thread(self, place: tuple[bool, str]) -> ThreadId | None:
        return None if place[0] else self._thread_id

    def _file(self, place: tuple[bool, str]) -> Path:
        return self._root / ("user" if place[0] else "thread") / place[1]

    def _is_storable(self, path: str) -> bool:
        try:
            parts_of(path)
        except InvalidFilePath as error:
            if path not in self._refused:
                self._refused.add(path)
                _log.warning("a file that a run has written is not stored: %s", error)
            return False
        return True
