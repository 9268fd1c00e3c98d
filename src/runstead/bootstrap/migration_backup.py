"""Backup of a data directory before its schema is migrated."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from runstead.infra.engines.data_dir import RUNS_FILE
from runstead.infra.storage.migrations import REVISIONS, Revisions
from runstead.infra.transfer.backup import back_up
from runstead.private_files import make_directory
from runstead.resources.storage_errors import StorageUnusable

_log = logging.getLogger(__name__)

_FOLDER: Final = "backups"
_KEPT: Final = 2


def back_up_before_migration(data_dir: Path, revisions: Revisions = REVISIONS) -> Path | None:
    """Copy the databases to ``backups`` in the directory if this version would migrate them; return the copy.

    The copies of the two latest migrations are kept. Raises StorageError before anything is migrated.
    """
    revision, head = _revision(data_dir / RUNS_FILE), revisions.head
    if revision is None or revision >= head:
        return None
    folder = data_dir / _FOLDER
    copy = folder / f"before-{head}-from-{revision}.zip"
    if copy.exists():
        # An interrupted migration is repeated; the first copy is the one from before it.
        return copy
    try:
        make_directory(folder)
        back_up(data_dir, copy, with_events=False)
        for older in sorted(folder.glob("before-*.zip"))[:-_KEPT]:
            older.unlink()
    except OSError as error:
        raise StorageUnusable(
            f"{data_dir} has to be migrated from revision {revision} to {head}, and a copy cannot be kept in {folder} "
            f"({error}); free some space, or move the directory to a larger disk"
        ) from error
    _log.warning("migrating the schema from %s to %s; %s is a backup from before", revision, head, copy)
    return copy


def _revision(file: Path) -> str | None:
    """Return the schema's revision; None if there is none, or the file is unreadable, which opening it will report."""
    if not file.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=rw", uri=True, timeout=5)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0])
