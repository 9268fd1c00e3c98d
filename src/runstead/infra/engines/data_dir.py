"""The data directory of one server, and the lock that gives one process ownership of it.

Only one process may own a data directory: its start releases the runs of dead processes, which would be wrong while
another one lives.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from runstead.private_files import make_private, write_private
from runstead.resources.storage_errors import DataDirInUse, StorageReadOnly, StorageUnusable

RUNS_FILE: Final = "runstead.db"
CHECKPOINTS_FILE: Final = "checkpoints.db"
LOCK_FILE = "runstead.lock"
PID_FILE = "runstead.pid"
"""The owner's pid, and on a second line the ids of the encryption keys that it has."""


@contextmanager
def own_data_dir(path: Path, key_ids: Collection[str] = ()) -> Iterator[Path]:
    """Create the directory if it is missing, and own it until the end of the block. ``key_ids``: see `keys_of_owner`.

    The lock belongs to the operating system: it ends with the process, however that ends. Besides the lock file, which
    could be deleted by hand, the directory itself is locked. Raises DataDirInUse.
    """
    lock = FileLock(path / LOCK_FILE, mode=0o600)
    folder: int | None = None
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire(timeout=0)
        folder = _lock_folder(path)
    except (Timeout, BlockingIOError) as error:
        lock.release()
        raise DataDirInUse(path, owner_of(path)) from error
    except PermissionError as error:
        raise StorageReadOnly(path) from error
    except (OSError, NotImplementedError) as error:
        raise StorageUnusable(f"cannot use {path} as the data directory: {error}") from error
    try:
        _close_to_others(path)
        # Only for messages of other processes: the writes that matter report a full disk.
        with suppress(OSError):
            write_private(path / PID_FILE, f"{os.getpid()}\n{' '.join(sorted(key_ids))}\n".encode())
        yield path
    finally:
        with suppress(OSError):
            (path / PID_FILE).unlink(missing_ok=True)
        if folder is not None:
            os.close(folder)
        lock.release()


def _lock_folder(path: Path) -> int | None:
    """Lock the directory until the descriptor is closed. Raises BlockingIOError.

    Returns None if the file system cannot lock directories.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise
    except OSError:
        # Over NFS a directory cannot be locked; the lock file alone has to do.
        os.close(folder)
        return None
    return folder


def _close_to_others(path: Path) -> None:
    """Remove other users' access to our files, which earlier versions or an operator's umask may have given them."""
    for file in (path, *path.glob("*.db"), *path.glob("*.db-*"), path / LOCK_FILE, path / "events"):
        make_private(file)


def owner_of(path: Path) -> int | None:
    """Return the owner's recorded pid if it can be read. For messages only; that process may be dead."""
    try:
        return int(_owner_lines(path)[0])
    except (OSError, ValueError, IndexError):
        return None


def keys_of_owner(path: Path) -> frozenset[str]:
    """Return the key ids that the owner of the directory has recorded; empty if there is no record."""
    try:
        return frozenset(_owner_lines(path)[1].split())
    except (OSError, ValueError, IndexError):
        return frozenset()


def _owner_lines(path: Path) -> list[str]:
    return (path / PID_FILE).read_text(encoding="ascii").splitlines()
