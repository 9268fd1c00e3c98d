"""Files of threads on disk.

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
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from runstead.infra.paths import ThreadPaths, path_name
from runstead.private_files import make_directory, open_new
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import ThreadId
from runstead.workspace import (
    FOLDERS,
    FileEntry,
    FileNotFound,
    FilePathConflict,
    FileTooLarge,
    InvalidFilePath,
    QuotaExceeded,
    Workspace,
    parts_of,
)

from .safe_tree import SafeTree

_INCOMING: Final = ".incoming"
"""Folder of files that are being written. No tenant's folder begins with a dot."""
_PIECE: Final = 256 * 1024
_LINKS: Final = (errno.ELOOP, errno.EMLINK)
"""Errors for a symbolic link on the way."""


@dataclass(frozen=True, slots=True)
class FileLimits:
    """Limits: bytes of one file, and bytes and number of all files of a user."""

    file_bytes: int = 100 * 1024 * 1024
    user_bytes: int = 1024 * 1024 * 1024
    user_files: int = 10_000


class DiskFiles:
    """A FileStore on disk."""

    def __init__(self, root: Path, limits: FileLimits | None = None) -> None:
        self._paths, self._limits = ThreadPaths(root), limits or FileLimits()
        self._moving = asyncio.Lock()

    def workspace_of(self, owner: ActorContext, thread_id: ThreadId) -> Workspace:
        return Workspace(self._thread(owner, thread_id), self._user(owner) / "memory")

    async def list(self, owner: ActorContext, thread_id: ThreadId) -> Sequence[FileEntry]:
        tree = SafeTree(self._thread(owner, thread_id))
        return await asyncio.to_thread(lambda: [_entry(parts, state) for parts, state in tree.walk()])

    async def write(
        self, owner: ActorContext, thread_id: ThreadId, path: str, chunks: AsyncIterator[bytes]
    ) -> FileEntry:
        parts = parts_of(path)
        if parts[0] not in FOLDERS or len(parts) == 1:
            raise InvalidFilePath(path, f"has to name a file in one of {', '.join(FOLDERS)}")
        tree, user = SafeTree(self._thread(owner, thread_id)), SafeTree(self._user(owner))
        incoming = await asyncio.to_thread(self._incoming)
        try:
            size = await self._receive(incoming, chunks)
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

    async def open(self, owner: ActorContext, thread_id: ThreadId, path: str) -> DiskFile:
        parts, tree = parts_of(path), SafeTree(self._thread(owner, thread_id))
        try:
            found = await asyncio.to_thread(tree.open_file, parts)
        except OSError as error:
            raise FileNotFound(path) from error
        return DiskFile(os.fdopen(found, "rb", buffering=0), _entry(parts, os.fstat(found)))

    async def archive(self, owner: ActorContext, thread_id: ThreadId) -> DiskFile:
        return await asyncio.to_thread(_archive, SafeTree(self._thread(owner, thread_id)))

    async def delete(self, owner: ActorContext, thread_id: ThreadId, path: str) -> bool:
        parts, tree = parts_of(path), SafeTree(self._thread(owner, thread_id))
        try:
            await asyncio.to_thread(tree.unlink, parts)
        except OSError:
            return False
        return True

    async def delete_thread(self, thread_id: ThreadId, owner: ActorContext | None = None) -> None:
        if owner is not None:
            folders = [self._thread(owner, thread_id)]
        else:
            name = path_name(thread_id)
            folders = await asyncio.to_thread(lambda: list(self._paths.root.glob(f"*/*/threads/{name}")))
        for folder in folders:
            # Does not follow links; a folder that an agent still writes to is left for the next call.
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _thread(self, owner: ActorContext, thread_id: ThreadId) -> Path:
        return self._paths.folder(owner, thread_id)

    def _user(self, owner: ActorContext) -> Path:
        return self._paths.root / path_name(owner.tenant_id) / path_name(owner.user_id)

    def _incoming(self) -> Path:
        make_directory(self._paths.root / _INCOMING)
        return self._paths.root / _INCOMING / uuid.uuid4().hex

    async def _receive(self, incoming: Path, chunks: AsyncIterator[bytes]) -> int:
        """Write the chunks to a new file, on disk when this returns, and return its size."""
        size = 0
        with os.fdopen(await asyncio.to_thread(open_new, incoming), "wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > self._limits.file_bytes:
                    raise FileTooLarge(self._limits.file_bytes)
                await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(file.flush)
            await asyncio.to_thread(os.fsync, file.fileno())
        return size

    def _check_quota(self, user: SafeTree, tree: SafeTree, parts: Sequence[str], size: int) -> None:
        replaced = (*tree.root.relative_to(user.root).parts, *parts)
        files, used = 1, size
        for path, state in user.walk():
            if path != replaced:
                files, used = files + 1, used + state.st_size
        if used > self._limits.user_bytes:
            raise QuotaExceeded(
                f"Your files would have {used} bytes, and {self._limits.user_bytes} are allowed (setting "
                "files_user_bytes)"
            )
        if files > self._limits.user_files:
            raise QuotaExceeded(f"You have {self._limits.user_files} files, which is the maximum")


class DiskFile:
    """An open file; see OpenFile."""

    def __init__(self, file: IO[bytes], entry: FileEntry) -> None:
        self._file, self.entry = file, entry

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


def _archive(tree: SafeTree) -> DiskFile:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - open beyond this function
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for parts, _ in tree.walk():
            try:
                found = tree.open_file(parts)
            except OSError:
                continue
            with os.fdopen(found, "rb") as source, archive.open("/".join(parts), "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, _PIECE)
    file.seek(0, os.SEEK_END)
    return DiskFile(file, FileEntry("archive.zip", file.tell(), datetime.now(UTC)))
