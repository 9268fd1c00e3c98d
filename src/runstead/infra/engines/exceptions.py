"""What can be wrong with a store as a whole; each text says what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from runstead.runtime.storage_fault import StorageFault

Place: TypeAlias = Path | str
"""A file, or a server as people know it: never with a password."""


class StorageError(StorageFault):
    """Root of what an engine raises by itself. Errors of the work it was given pass through unchanged."""


class StorageClosed(StorageError):
    """Something was asked of an engine that has been closed."""

    kind = "closed"

    def __init__(self, path: Place) -> None:
        self.path = path
        super().__init__(f"the database {path} is closed; the server is shutting down")


class StorageFull(StorageError):
    """The write did not fit on the disk; nothing of it was kept."""

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
    """The server that answers only reads for now: another one is the primary, and its address leads there soon."""

    passes = True


class StorageCorrupt(StorageError):
    """The file is not a database, or not a sound one."""

    def __init__(self, path: Place, details: str) -> None:
        self.path, self.details = path, details
        kind = "SQLite database" if isinstance(path, Path) else "database"
        super().__init__(f"{path} is not a sound {kind} ({details}); restore it from a backup, or move it away")


class StorageBusy(StorageError):
    """The database has no room or no time for this now: it is locked for longer than we wait, or overrun."""

    kind = "busy"

    def __init__(
        self, path: Place, trouble: str = "is locked by another process; stop what else writes to it, then try again"
    ) -> None:
        self.path = path
        super().__init__(f"{path} {trouble}")


class StorageUnavailable(StorageError):
    """The database server cannot be reached. Whether a write that was being committed stands is not known."""

    kind = "away"

    def __init__(self, path: Place, details: str) -> None:
        self.path, self.details = path, details
        super().__init__(f"{path} cannot be reached ({details}); check that it runs, and try again")


class StorageUnusable(StorageError):
    """The engine cannot work as it is set up."""


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
