"""Deletion of a data directory, for a fresh start in development."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from runstead.infra.engines.data_dir import CHECKPOINTS_FILE, LOCK_FILE, PID_FILE, RUNS_FILE, own_data_dir
from runstead.resources.storage_errors import StorageUnusable

_OURS: Final = (
    *(f"{name}{suffix}" for name in (RUNS_FILE, CHECKPOINTS_FILE) for suffix in ("", "-wal", "-shm", "-journal")),
    LOCK_FILE,
    PID_FILE,
    "streams",
    "events",
    "files",
    "backups",
    ".restoring-*",
)
_SHOWN: Final = 5


def check_removable(data_dir: Path) -> None:
    """Raise StorageUnusable for a directory that no server has made, or that has anything else in it."""
    if not (data_dir / RUNS_FILE).is_file():
        raise StorageUnusable(f"{data_dir} is no data directory: it has no {RUNS_FILE}")
    if foreign := _foreign(data_dir):
        more = ", ..." if len(foreign) > _SHOWN else ""
        raise StorageUnusable(
            f"{data_dir} holds files that Runstead did not write: {', '.join(foreign[:_SHOWN])}{more}; "
            "move them away, or delete the directory yourself"
        )


def remove_data(data_dir: Path) -> None:
    """Delete a data directory that no server uses. Raises StorageUnusable as `check_removable`, DataDirInUse."""
    check_removable(data_dir)
    with own_data_dir(data_dir):
        # The lock last: until then, no server can start here.
        for entry in sorted(data_dir.iterdir(), key=lambda entry: entry.name == LOCK_FILE):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != LOCK_FILE:
                entry.unlink()
    (data_dir / LOCK_FILE).unlink(missing_ok=True)
    data_dir.rmdir()


def _foreign(data_dir: Path) -> Sequence[str]:
    return sorted(
        entry.name for entry in data_dir.iterdir() if not any(fnmatch(entry.name, pattern) for pattern in _OURS)
    )
