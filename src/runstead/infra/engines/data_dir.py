"""The folder that holds everything of one server, and the lock that says whose it is.

One process owns a data directory: its start frees the runs of those who died, which would be wrong while they live.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .exceptions import DataDirInUse, StorageReadOnly, StorageUnusable

LOCK_FILE = "runstead.lock"
PID_FILE = "runstead.pid"


@contextmanager
def own_data_dir(path: Path) -> Iterator[Path]:
    """Make the directory when absent, and own it until the end of the block.

    The lock is the operating system's: it goes with the process, however that ends. Raises DataDirInUse.
    """
    lock = FileLock(path / LOCK_FILE, mode=0o600)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DataDirInUse(path, owner_of(path)) from error
    except PermissionError as error:
        raise StorageReadOnly(path) from error
    except (OSError, NotImplementedError) as error:
        raise StorageUnusable(f"cannot use {path} as the data directory: {error}") from error
    try:
        (path / PID_FILE).write_text(f"{os.getpid()}\n", encoding="ascii")
        yield path
    finally:
        with suppress(OSError):
            (path / PID_FILE).unlink(missing_ok=True)
        lock.release()


def owner_of(path: Path) -> int | None:
    """The pid that the owner left behind, if it can be read. For a message; it may be a dead one's."""
    try:
        return int((path / PID_FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
