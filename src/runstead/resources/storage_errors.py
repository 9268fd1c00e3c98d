"""Errors of a storage as a whole; each text contains the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from runstead.runtime.storage_fault import StorageFault

Place: TypeAlias = Path | str
"""A file, or the displayable address of a server: never with a password."""


class StorageError(StorageFault):
    """Base class of the engines' own errors. Errors of the submitted work pass through unchanged."""


class StorageClosed(StorageError):
    """The engine has been closed."""

    kind = "closed"

    def __init__(self, path: Place) -> None:
        self.path = path
        super().__init__(f"the database {path} is closed; the server is shutting down")


class StorageFull(StorageError):
    """The disk is full; nothing of the write was stored."""

    kind = "full"

    def __init__(self, path: Place) -> None:
        self.path = path
        super().__init__(f"no room left for {path}; free some space on that disk, then try again")


class StorageReadOnly(StorageError):
    """The file or its folder cannot be written to."""

    kind = "read_only"

    def __init__(
        self, path: Place, remedy: str = "check the rights of the file and its folder, or use another --data-dir"
    ) -> None:
        self.path = path
        super().__init__(f"{path} is read-only; {remedy}")


class StorageDemoted(StorageReadOnly):
    """The server is no longer the primary and only answers reads; its address will soon lead to the new primary."""

    is_transient = True


class StorageCorrupt(StorageError):
    """The file is not a database, or a corrupt one."""

    def __init__(self, path: Place, details: str) -> None:
        self.path, self.details = path, details
        kind = "SQLite database" if isinstance(path, Path) else "database"
        super().__init__(f"{path} is not a sound {kind} ({details}); restore it from a backup, or move it away")


class StorageBusy(StorageError):
    """The database cannot serve this now: it is locked for longer than the timeout, or overloaded."""

    kind = "busy"

    def __init__(
        self, path: Place, trouble: str = "is locked by another process; stop what else writes to it, then try again"
    ) -> None:
        self.path = path
        super().__init__(f"{path} {trouble}")


class StorageUnavailable(StorageError):
    """The database server cannot be reached. A write that was being committed may or may not be stored."""

    kind = "away"

    def __init__(self, path: Place, details: str) -> None:
        self.path, self.details = path, details
        super().__init__(f"{path} cannot be reached ({details}); check that it runs, and try again")


class StorageUnusable(StorageError):
    """The engine cannot work with its configuration."""


class SchemaTooNew(StorageError):
    """The database was written by a later version of this program."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        super().__init__(
            f"the database is at schema revision {revision}, which this version does not know; "
            "install the version that wrote it, or use another --data-dir"
        )


class DataDirInUse(StorageError):
    """Another process owns the data directory."""

    def __init__(self, path: Path, pid: int | None) -> None:
        self.path, self.pid = path, pid
        owner = f"the process with pid {pid}" if pid is not None else "another process"
        super().__init__(f"{path} is in use by {owner}; stop it, or use another --data-dir")
