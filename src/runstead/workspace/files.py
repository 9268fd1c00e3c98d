"""Port for the files of threads and the memories of users, under an explicit owner."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import ThreadId

from .current import Workspace

FOLDERS: Final = ("uploads", "workspace", "outputs")
"""Folders of a thread."""
MEMORY: Final = "memory"
"""Folder of a user."""


def folders_of(thread_id: ThreadId | None) -> tuple[str, ...]:
    """Return the folders in which a thread has files; None stands for the user's memory."""
    return (MEMORY,) if thread_id is None else FOLDERS


class FileNotFound(Exception):
    """There is no such file."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is no file {path[:200]!r} here")


class FileChanged(Exception):
    """A file was replaced or deleted while it was read."""

    def __init__(self, path: str) -> None:
        super().__init__(f"The file {path[:200]!r} was changed while it was read; read it again")


class FilePathConflict(Exception):
    """A folder has the name of the file, or a file the name of a folder in its path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path[:200]!r} is a folder, or leads through a file; choose another path")


class FileTooLarge(Exception):
    """A file exceeds the maximum size."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"A file may have at most {limit} bytes here (setting files_max_file_bytes)")


class ArchiveTooLarge(Exception):
    """The files are too large for an archive."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"These files have {size} bytes, and an archive may have {limit} (setting files_user_bytes); download them "
            "one by one"
        )


class QuotaExceeded(Exception):
    """The owner's files would exceed the quota."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; delete files or threads first")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """File of a thread or a memory. ``path`` is relative to it, with slashes, and begins with a folder's name.

    ``version`` changes with the content, if the store has such a value.
    """

    path: str
    size: int
    modified_at: datetime
    version: str | None = None

    @property
    def etag(self) -> str:
        if self.version is not None:
            return self.version
        return f'"{self.size:x}-{int(self.modified_at.timestamp() * 1_000_000):x}"'


class OpenFile(Protocol):
    """Open file. If the file is replaced or deleted meanwhile, it stays readable and the same, or `read` raises
    FileChanged."""

    @property
    def entry(self) -> FileEntry: ...

    async def read(self, start: int, size: int) -> bytes:
        """Return up to ``size`` bytes from position ``start``; fewer only at the end."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class WorkingFiles:
    """The files of a thread and of its owner's memory as local paths, while a run executes.

    ``save`` stores what the run has written so far; it is None if the paths are the store itself.
    """

    workspace: Workspace
    save: Callable[[], Awaitable[None]] | None = None


class FileStore(Protocol):
    """Files of threads, and memories of users. Not scoped by the bound actor: callers pass the owner, and check access
    before. A ``thread_id`` of None stands for the owner's memory.

    Symbolic links, and everything but regular files, look missing. Raises InvalidFilePath for every path that
    `parts_of` refuses.
    """

    def working(self, owner: ActorContext, thread_id: ThreadId) -> AbstractAsyncContextManager[WorkingFiles]:
        """Provide the files as local paths for the duration of a block. What was not saved may be lost at its end."""
        ...

    async def list(self, owner: ActorContext, thread_id: ThreadId | None) -> Sequence[FileEntry]:
        """Return all files, sorted by path."""
        ...

    async def write(
        self, owner: ActorContext, thread_id: ThreadId | None, path: str, chunks: AsyncIterator[bytes]
    ) -> FileEntry:
        """Write a file and its folders, in place of an existing file. Readers see the old file or the whole new one.

        Raises FileTooLarge, QuotaExceeded, FilePathConflict.
        """
        ...

    async def open(self, owner: ActorContext, thread_id: ThreadId | None, path: str) -> OpenFile:
        """Open a file. Raises FileNotFound."""
        ...

    async def archive(self, owner: ActorContext, thread_id: ThreadId | None) -> OpenFile:
        """Return a new zip archive of all files. Raises ArchiveTooLarge."""
        ...

    async def delete(self, owner: ActorContext, thread_id: ThreadId | None, path: str) -> bool:
        """Delete a file; return False if there is none."""
        ...

    async def delete_thread(self, thread_id: ThreadId, owner: ActorContext | None = None) -> None:
        """Delete all files of a thread; without an owner, those of any owner. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class StoredFile:
    """File of any owner. ``key`` is ``{tenant}/{user}/threads/{thread}/{path}`` or ``{tenant}/{user}/{path}``, with ids
    as names that are safe on every file system."""

    key: str
    size: int


class FileVault(Protocol):
    """The files of all owners, to be moved to another store."""

    def stored_files(self) -> AsyncIterator[StoredFile]:
        """Yield all files, sorted by key."""
        ...

    async def open_stored(self, key: str) -> OpenFile:
        """Open a file. Raises FileNotFound."""
        ...

    async def restore(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Write a file without regard to quotas. Raises InvalidFilePath for a key that no file can have."""
        ...
