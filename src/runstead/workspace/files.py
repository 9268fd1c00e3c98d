"""Port for the files of threads, under an explicit owner."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import ThreadId

from .current import Workspace

FOLDERS: Final = ("uploads", "workspace", "outputs")
"""Folders of a thread into which clients can write."""


class FileNotFound(Exception):
    """The thread has no such file."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is no file {path[:200]!r} on this thread")


class FilePathConflict(Exception):
    """A folder has the name of the file, or a file the name of a folder in its path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path[:200]!r} is a folder, or leads through a file; choose another path")


class FileTooLarge(Exception):
    """A file exceeds the maximum size."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"A file may have at most {limit} bytes here (setting files_max_file_bytes)")


class QuotaExceeded(Exception):
    """The owner's files would exceed the quota."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; delete files or threads first")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """File of a thread. ``path`` is relative to the thread, with slashes."""

    path: str
    size: int
    modified_at: datetime

    @property
    def etag(self) -> str:
        return f'"{self.size:x}-{int(self.modified_at.timestamp() * 1_000_000):x}"'


class OpenFile(Protocol):
    """Open file. It stays readable, and the same, if the file is replaced or deleted meanwhile."""

    @property
    def entry(self) -> FileEntry: ...

    async def read(self, start: int, size: int) -> bytes:
        """Return up to ``size`` bytes from position ``start``; fewer only at the end."""
        ...

    async def close(self) -> None: ...


class FileStore(Protocol):
    """Files of threads. Not scoped by the bound actor: callers pass the owner of the thread, and check access before.

    Symbolic links, and everything but regular files, look missing. Raises InvalidFilePath for every path that
    `parts_of` refuses.
    """

    def workspace_of(self, owner: ActorContext, thread_id: ThreadId) -> Workspace: ...

    async def list(self, owner: ActorContext, thread_id: ThreadId) -> Sequence[FileEntry]:
        """Return all files of a thread, sorted by path."""
        ...

    async def write(
        self, owner: ActorContext, thread_id: ThreadId, path: str, chunks: AsyncIterator[bytes]
    ) -> FileEntry:
        """Write a file and its folders, in place of an existing file. Readers see the old file or the whole new one.

        Raises FileTooLarge, QuotaExceeded, FilePathConflict.
        """
        ...

    async def open(self, owner: ActorContext, thread_id: ThreadId, path: str) -> OpenFile:
        """Open a file. Raises FileNotFound."""
        ...

    async def archive(self, owner: ActorContext, thread_id: ThreadId) -> OpenFile:
        """Return a new zip archive of all files of a thread."""
        ...

    async def delete(self, owner: ActorContext, thread_id: ThreadId, path: str) -> bool:
        """Delete a file; return False if there is none."""
        ...

    async def delete_thread(self, thread_id: ThreadId, owner: ActorContext | None = None) -> None:
        """Delete all files of a thread; without an owner, those of any owner. Idempotent."""
        ...
