"""Check of a data directory's databases: whether they are intact and belong together."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from runstead.infra.engines.data_dir import CHECKPOINTS_FILE, RUNS_FILE
from runstead.resources.health_checks import HealthCheck

_WITHIN: Final = 60.0
"""Maximum seconds to read one file; larger files are read in part."""
_STEPS: Final = 100_000
"""SQLite instructions between two checks of the clock."""
_WAY_OUT: Final = "restore it from a backup, or move it away"


def check_databases(data_dir: Path) -> Iterator[HealthCheck]:
    """Yield a finding for each existing database, and one for the pair. Nothing is changed; a server may be running."""
    from runstead.infra.checkpoints.identity import EXPECTED, FOUND, WITH_STATE, mismatch
    from runstead.infra.storage.migrations import HEAD

    runs, checkpoints = data_dir / RUNS_FILE, data_dir / CHECKPOINTS_FILE
    if not runs.exists() and not checkpoints.exists():
        return
    found = [_look_at(file) for file in (runs, checkpoints) if file.exists()]
    yield from found
    if any(finding.state == "failed" for finding in found) or not runs.exists():
        return
    revision = _one(runs, "SELECT version_num FROM alembic_version")
    if revision is not None and revision > HEAD:
        text = f"{runs} is at schema revision {revision}, which this version does not support"
        yield HealthCheck("database", "failed", text, "install the version that wrote it")
        return
    identity = _one(checkpoints, FOUND) if checkpoints.exists() else None
    problem = mismatch(_one(runs, EXPECTED), identity, _one(runs, WITH_STATE) or 0, runs, checkpoints)
    if problem is not None:
        yield HealthCheck("database", "failed", problem)


def _look_at(file: Path) -> HealthCheck:
    until = time.monotonic() + _WITHIN
    try:
        with closing(_opened(file)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
            wrong = [line for (line,) in connection.execute("PRAGMA quick_check(3)") if line != "ok"]
    except sqlite3.OperationalError as error:
        if str(error) == "interrupted":
            text = f"{file} is large; nothing is wrong in what was read in {_WITHIN:.0f} s"
            return HealthCheck("database", "warning", text, "run `PRAGMA quick_check` on a copy to read all of it")
        return HealthCheck("database", "failed", f"{file} cannot be read: {error}", "check its rights, and the disk")
    except sqlite3.DatabaseError as error:
        return HealthCheck("database", "failed", f"{file} is not a sound SQLite database: {error}", _WAY_OUT)
    if wrong:
        return HealthCheck("database", "failed", f"{file} is not a sound SQLite database: {wrong[0].strip()}", _WAY_OUT)
    return HealthCheck("database", "ok", f"{file} is sound")


def _one(file: Path, statement: str) -> Any:
    """Return the first value; None if there is none, or if a file of an earlier version has no such table."""
    try:
        with closing(_opened(file)) as connection:
            row = connection.execute(statement).fetchone()
    except sqlite3.OperationalError:
        return None
    return None if row is None else row[0]


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=5)
