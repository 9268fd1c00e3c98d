"""Files of threads and memories of users on disk.

``{root}/{tenant}/{user}/threads/{thread}/{uploads,workspace,outputs}`` and ``{root}/{tenant}/{user}/memory``; see
`runstead.infra.paths` for the mapping of ids to names. Several processes may share the root, such as the nodes of a
cluster over a network file system; then the quota can be exceeded by uploads at the same time.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from runstead.infra.paths import ThreadPaths, path_name
from runstead.private_files import make_directory, open_new
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import ThreadId
from runstead.workspace import (
    MEMORY,
    FileEntry,
    FileNotFound,
    FilePathConflict,
    FileTooLarge,
    StoredFile,
    WorkingFiles,
    Workspace,
    folders_of,
    parts_in,
)

from .keys import key_parts, readable_parts
from .limits import FileLimits
from .safe_tree import SafeTree

_INCOMING: Final = ".incoming"
"""Folder of files that are being written. No tenant's folder begins with a dot."""
_PIECE: Final = 256 * 1024
_LINKS: Final = (errno.ELOOP, errno.EMLINK)
"""Errors for a symbolic link on the way."""


class DiskFiles:
    """A FileStore on disk."""

    def __init__(self, root: Path, limits: FileLimits | None = None) -> None:
        self._paths, self._limits = ThreadPaths(root), limits or FileLimits()
        self._moving = asyncio.Lock()

    @asynccontextmanager
    async def working(self, owner: ActorContext, thread_id: ThreadId) -> AsyncIterator[WorkingFiles]:
        yield WorkingFiles(Workspace(self._root(owner, thread_id), self._root(owner, None) / MEMORY))

    async def list(self, owner: ActorContext, thread_id: ThreadId | None) -> Sequence[FileEntry]:
        tree = SafeTree(self._root(owner, thread_id))
        return await asyncio.to_thread(lambda: [_entry(*found) for found in _walk(tree, thread_id)])

    async def write(
        self, owner: ActorContext, thread_id: ThreadId | None, path: str, chunks: AsyncIterator[bytes]
    ) -> FileEntry:
        parts = parts_in(path, folders_of(thread_id))
        tree, user = SafeTree(self._root(owner, thread_id)), SafeTree(self._root(owner, None))
        incoming = await asyncio.to_thread(self._incoming)
        try:
            size = await receive(incoming, chunks, self._limits.file_bytes)
            # One at a time, so that two uploads do not both fit into the same room.
            async with self._moving:
                await asyncio.to_thread(self._check_quota, user, tree, parts, size)
                await asyncio.to_thread(_move, incoming, tree, parts)
        finally:
            await asyncio.to_thread(incoming.unlink, missing_ok=True)
        return (await self._current(tree, parts)) or FileEntry(path, size, datetime.now(UTC))

    async def _current(self, tree: SafeTree, parts: Sequence[str]) -> FileEntry | None:
        """Return the entry of a file; None if it was deleted meanwhile."""
        try:
            found = await asyncio.to_thread(tree.open_file, parts)
        except OSError:
            return None
        try:
            return _entry(parts, os.fstat(found))
        finally:
            os.close(found)

    async def open(self, owner: ActorContext, thread_id: ThreadId | None, path: str) -> DiskFile:
        return await _opened(SafeTree(self._root(owner, thread_id)), readable_parts(path, thread_id))

    async def archive(self, owner: ActorContext, thread_id: ThreadId | None) -> DiskFile:
        tree = SafeTree(self._root(owner, thread_id))
        sizes = await asyncio.to_thread(lambda: sum(state.st_size for _, state in _walk(tree, thread_id)))
        self._limits.check_archive(sizes)
        return await asyncio.to_thread(_archive, tree, thread_id)

    async def delete(self, owner: ActorContext, thread_id: ThreadId | None, path: str) -> bool:
        try:
            parts, tree = readable_parts(path, thread_id), SafeTree(self._root(owner, thread_id))
        except FileNotFound:
            return False
        try:
            await asyncio.to_thread(tree.unlink, parts)
        except OSError:
            return False
        return True

    async def delete_thread(self, thread_id: ThreadId, owner: ActorContext | None = None) -> None:
        if owner is not None:
            folders = [self._root(owner, thread_id)]
        else:
            name = path_name(thread_id)
            folders = await asyncio.to_thread(lambda: list(self._paths.root.glob(f"*/*/threads/{name}")))
        for folder in folders:
            # Does not follow links; a folder that an agent still writes to is left for the next call.
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def stored_files(self) -> AsyncIterator[StoredFile]:
        files = SafeTree(self._paths.root).walk()
        # What is not in the folder of a tenant is not stored yet.
        while (found := await asyncio.to_thread(next, files, None)) is not None:
            if found[0][0] != _INCOMING:
                yield StoredFile("/".join(found[0]), found[1].st_size)

    async def open_stored(self, key: str) -> DiskFile:
        return await _opened(SafeTree(self._paths.root), tuple(key.split("/")))

    async def restore(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        parts = key_parts(key)
        incoming = await asyncio.to_thread(self._incoming)
        try:
            await receive(incoming, chunks)
            await asyncio.to_thread(_move, incoming, SafeTree(self._paths.root), parts)
        finally:
            await asyncio.to_thread(incoming.unlink, missing_ok=True)

    def _root(self, owner: ActorContext, thread_id: ThreadId | None) -> Path:
        """Return the folder with the folders of a thread, or with the memory of the owner."""
        if thread_id is not None:
            return self._paths.folder(owner, thread_id)
        return self._paths.root / path_name(owner.tenant_id) / path_name(owner.user_id)

    def _incoming(self) -> Path:
        make_directory(self._paths.root / _INCOMING)
        return self._paths.root / _INCOMING / uuid.uuid4().hex

    def _check_quota(self, user: SafeTree, tree: SafeTree, parts: Sequence[str], size: int) -> None:
        replaced = (*tree.root.relative_to(user.root).parts, *parts)
        files, used = 1, size
        for path, state in user.walk():
            if path != replaced:
                files, used = files + 1, used + state.st_size
        self._limits.check(files, used)


class DiskFile:
    """An open file; see OpenFile."""

    def __init__(self, file: IO[bytes], entry: FileEntry) -> None:
        self._file, self.entry = file, entry

    @classmethod
    def of_archive(cls, file: IO[bytes]) -> DiskFile:
        """Return a complete zip archive as an open file."""
        file.seek(0, os.SEEK_END)
        return cls(file, FileEntry("archive.zip", file.tell(), datetime.now(UTC)))

    async def read(self, start: int, size: int) -> bytes:
        def read() -> bytes:
            self._file.seek(start)
            return self._file.read(size)

        return await asyncio.to_thread(read)

    async def close(self) -> None:
        await asyncio.to_thread(self._file.close)


def _entry(parts: Sequence[str], state: os.stat_result) -> FileEntry:
    return FileEntry("/".join(parts), state.st_size, datetime.fromtimestamp(state.st_mtime, UTC))


def _move(incoming: Path, tree: SafeTree, parts: Sequence[str]) -> None:
    try:
        tree.move_in(incoming, parts)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise FilePathConflict("/".join(parts)) from error
    except OSError as error:
        if error.errno in _LINKS:
            raise FilePathConflict("/".join(parts)) from error
        raise


def _walk(tree: SafeTree, thread_id: ThreadId | None) -> Iterator[tuple[tuple[str, ...], os.stat_result]]:
    """Yield the files in the folders of a thread, or in a memory."""
    if thread_id is not None:
        yield from tree.walk()
        return
    for parts, state in SafeTree(tree.root / MEMORY).walk():
        yield (MEMORY, *parts), state


async def _opened(tree: SafeTree, parts: Sequence[str]) -> DiskFile:
    try:
        found = await asyncio.to_thread(tree.open_file, parts)
    except OSError as error:
        raise FileNotFound("/".join(parts)) from error
    return DiskFile(os.fdopen(found, "rb", buffering=0), _entry(parts, os.fstat(found)))


async def receive(incoming: Path, chunks: AsyncIterator[bytes], limit: int | None = None) -> int:
    """Write the chunks to a new file, on disk when this returns, and return its size. Raises FileTooLarge."""
    size = 0
    with os.fdopen(await asyncio.to_thread(open_new, incoming), "wb") as file:
        async for chunk in chunks:
            size += len(chunk)
            if limit is not None and size > limit:
                raise FileTooLarge(limit)
            await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(file.flush)
        await asyncio.to_thread(os.fsync, file.fileno())
    return size


def _archive(tree: SafeTree, thread_id: ThreadId | None) -> DiskFile:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - open beyond this function
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for parts, _ in _walk(tree, thread_id):
            try:
                found = tree.open_file(parts)
            except OSError:
                continue
            with os.fdopen(found, "rb") as source, archive.open("/".join(parts), "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, _PIECE)
    return DiskFile.of_archive(file)
