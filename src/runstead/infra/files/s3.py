"""Files of threads and memories of users in an S3-compatible object store, with obstore.

``files/{tenant}/{user}/threads/{thread}/{path}`` and ``files/{tenant}/{user}/memory/{path}`` are the files;
``owners/{thread}/{tenant}/{user}`` are empty objects that name the owners of a thread's files. All nodes of a cluster
share the store. Its writes are atomic, and its lists are up to date. Quotas can be exceeded by uploads to several nodes
at the same time.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError, PreconditionError

from runstead.infra.paths import path_name
from runstead.private_files import open_new
from runstead.resources.storage_errors import StorageUnavailable
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import ThreadId
from runstead.workspace import (
    FileChanged,
    FileEntry,
    FileNotFound,
    FilePathConflict,
    StoredFile,
    WorkingFiles,
    folders_of,
    parts_in,
)

from .disk import DiskFile, receive
from .file_cache import FileCache
from .keys import key_parts, readable_parts, root_key, user_key
from .limits import FileLimits
from .working_copy import WorkingCopy

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ObjectStore

_FILES: Final = "files"
_OWNERS: Final = "owners"
_AHEAD: Final = 4 * 1024 * 1024
"""Bytes that one request reads."""
_PIECE: Final = 256 * 1024
_CACHE_BYTES: Final = 1024 * 1024 * 1024


class S3Files:
    """A FileStore, and a FileVault, over a store of obstore. ``place`` names it in errors; ``cache_bytes`` is the size
    of the files that are kept between runs."""

    def __init__(
        self, store: ObjectStore, place: str, limits: FileLimits | None = None, cache_bytes: int = _CACHE_BYTES
    ) -> None:
        self._store, self._place, self._limits = store, place, limits or FileLimits()
        self._cache = FileCache(cache_bytes)
        self._storing = asyncio.Lock()

    @asynccontextmanager
    async def working(self, owner: ActorContext, thread_id: ThreadId) -> AsyncIterator[WorkingFiles]:
        async with WorkingCopy.opened(self, self._cache, owner, thread_id) as copy:
            yield WorkingFiles(copy.workspace, copy.save)

    async def list(self, owner: ActorContext, thread_id: ThreadId | None) -> Sequence[FileEntry]:
        below = [""] if thread_id is not None else [f"/{name}" for name in folders_of(None)]
        root = f"{_FILES}/{root_key(owner, thread_id)}"
        found = [_entry(meta, root) for name in below for meta in await self._metas(f"{root}{name}")]
        return sorted(found, key=lambda entry: entry.path.split("/"))

    async def write(
        self, owner: ActorContext, thread_id: ThreadId | None, path: str, chunks: AsyncIterator[bytes]
    ) -> FileEntry:
        parts_in(path, folders_of(thread_id))
        key = f"{_FILES}/{root_key(owner, thread_id)}/{path}"
        with tempfile.TemporaryDirectory(prefix="runstead-upload-") as folder:
            incoming = Path(folder) / "file"
            size = await receive(incoming, chunks, self._limits.file_bytes)
            # One at a time, so that two uploads do not both fit into the same room.
            async with self._storing:
                stored = {meta["path"]: meta["size"] for meta in await self._metas(f"{_FILES}/{user_key(owner)}")}
                _check_path(path, key, stored)
                stored[key] = size
                self._limits.check(len(stored), sum(stored.values()))
                await self.put(owner, thread_id, path, incoming)
        return _entry(await self._meta(key, path), f"{_FILES}/{root_key(owner, thread_id)}")

    async def put(self, owner: ActorContext, thread_id: ThreadId | None, path: str, file: Path) -> str | None:
        """Store a local file without regard to quotas; return its version."""
        with self._errors():
            if thread_id is not None:
                # Before the first file, so that a deletion of the thread finds it.
                await obstore.put_async(self._store, _owner_key(owner, thread_id), b"", use_multipart=False)
            stored = await obstore.put_async(self._store, f"{_FILES}/{root_key(owner, thread_id)}/{path}", file)
        return stored["e_tag"]

    async def open(self, owner: ActorContext, thread_id: ThreadId | None, path: str) -> S3File:
        readable_parts(path, thread_id)
        root = f"{_FILES}/{root_key(owner, thread_id)}"
        return self._opened(_entry(await self._meta(f"{root}/{path}", path), root), f"{root}/{path}")

    async def archive(self, owner: ActorContext, thread_id: ThreadId | None) -> DiskFile:
        entries = await self.list(owner, thread_id)
        self._limits.check_archive(sum(entry.size for entry in entries))
        file = tempfile.TemporaryFile()  # noqa: SIM115 - open beyond this function
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry in entries:
                try:
                    opened = self._opened(entry, f"{_FILES}/{root_key(owner, thread_id)}/{entry.path}")
                    first = await opened.read(0, _PIECE)
                except (FileNotFound, FileChanged):
                    continue
                with archive.open(entry.path, "w", force_zip64=True) as target:
                    await asyncio.to_thread(target.write, first)
                    async for piece in _rest(opened, len(first)):
                        await asyncio.to_thread(target.write, piece)
        return DiskFile.of_archive(file)

    async def delete(self, owner: ActorContext, thread_id: ThreadId | None, path: str) -> bool:
        try:
            readable_parts(path, thread_id)
            key = f"{_FILES}/{root_key(owner, thread_id)}/{path}"
            await self._meta(key, path)
        except FileNotFound:
            return False
        with self._errors():
            await obstore.delete_async(self._store, key)
        return True

    async def delete_thread(self, thread_id: ThreadId, owner: ActorContext | None = None) -> None:
        name = path_name(thread_id)
        if owner is not None:
            users = [user_key(owner)]
        else:
            markers = await self._metas(f"{_OWNERS}/{name}")
            users = [meta["path"].removeprefix(f"{_OWNERS}/{name}/") for meta in markers]
        for user in users:
            metas = await self._metas(f"{_FILES}/{user}/threads/{name}")
            await self._delete([*(meta["path"] for meta in metas), f"{_OWNERS}/{name}/{user}"])

    async def stored_files(self) -> AsyncIterator[StoredFile]:
        with self._errors():
            async for batch in obstore.list(self._store, _FILES):
                for meta in batch:
                    yield StoredFile(meta["path"].removeprefix(f"{_FILES}/"), meta["size"])

    async def open_stored(self, key: str) -> S3File:
        return self._opened(_entry(await self._meta(f"{_FILES}/{key}", key), _FILES), f"{_FILES}/{key}")

    async def restore(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        parts = key_parts(key)
        with tempfile.TemporaryDirectory(prefix="runstead-restore-") as folder:
            incoming = Path(folder) / "file"
            await receive(incoming, chunks)
            with self._errors():
                if parts[2] == "threads":
                    owner = f"{_OWNERS}/{parts[3]}/{parts[0]}/{parts[1]}"
                    await obstore.put_async(self._store, owner, b"", use_multipart=False)
                await obstore.put_async(self._store, f"{_FILES}/{key}", incoming)

    async def download(self, owner: ActorContext, thread_id: ThreadId | None, entry: FileEntry, target: Path) -> None:
        """Copy a file to a new local one."""
        opened = self._opened(entry, f"{_FILES}/{root_key(owner, thread_id)}/{entry.path}")
        with os.fdopen(open_new(target), "wb") as file:
            async with aclosing(_rest(opened, 0)) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(file.write, piece)

    def _opened(self, entry: FileEntry, key: str) -> S3File:
        return S3File(self._store, self._place, key, entry)

    async def _metas(self, folder: str) -> Sequence[ObjectMeta]:
        """Return all objects below a folder, sorted by key."""
        with self._errors():
            return [meta async for batch in obstore.list(self._store, folder) for meta in batch]

    async def _meta(self, key: str, path: str) -> ObjectMeta:
        """Return the metadata of an object. Raises FileNotFound with ``path``."""
        try:
            with self._errors():
                return await obstore.head_async(self._store, key)
        except FileNotFoundError as error:
            raise FileNotFound(path) from error

    async def _delete(self, keys: Sequence[str]) -> None:
        with self._errors():
            await obstore.delete_async(self._store, keys)

    def _errors(self) -> StoreErrors:
        return StoreErrors(self._place)


class S3File:
    """An open file; see OpenFile. Reads some MB at a time, always of the version that was opened."""

    def __init__(self, store: ObjectStore, place: str, key: str, entry: FileEntry) -> None:
        self._store, self._place, self._key, self.entry = store, place, key, entry
        self._start, self._data = 0, b""

    async def read(self, start: int, size: int) -> bytes:
        end = min(start + size, self.entry.size)
        if start >= end:
            return b""
        if not self._start <= start or end > self._start + len(self._data):
            self._start, self._data = start, await self._get(start, min(max(end, start + _AHEAD), self.entry.size))
        return self._data[start - self._start : end - self._start]

    async def close(self) -> None:
        self._data = b""

    async def _get(self, start: int, end: int) -> bytes:
        options: GetOptions = {"range": (start, end)}
        if self.entry.version is not None:
            options["if_match"] = self.entry.version
        try:
            with StoreErrors(self._place):
                found = await obstore.get_async(self._store, self._key, options=options)
                return bytes(await found.bytes_async())
        except (PreconditionError, FileNotFoundError) as error:
            raise FileChanged(self.entry.path) from error


class StoreErrors:
    """Context that raises StorageUnavailable for errors of the store, except those that are answers."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, BaseError) and not isinstance(error, PreconditionError):
            reason = str(error).split("\n")[0][:300]
            raise StorageUnavailable(self._place, reason) from error


def _entry(meta: ObjectMeta, root: str) -> FileEntry:
    return FileEntry(meta["path"].removeprefix(f"{root}/"), meta["size"], meta["last_modified"], meta["e_tag"])


def _owner_key(owner: ActorContext, thread_id: ThreadId) -> str:
    return f"{_OWNERS}/{path_name(thread_id)}/{user_key(owner)}"


def _check_path(path: str, key: str, stored: dict[str, int]) -> None:
    """Raise FilePathConflict if a file has the name of a folder in the path, or a folder that of the file."""
    parts = key.split("/")
    above = ("/".join(parts[:count]) for count in range(1, len(parts)))
    if any(folder in stored for folder in above) or any(other.startswith(f"{key}/") for other in stored):
        raise FilePathConflict(path)


async def _rest(opened: S3File, start: int) -> AsyncGenerator[bytes]:
    while piece := await opened.read(start, _PIECE):
        yield piece
        start += len(piece)
