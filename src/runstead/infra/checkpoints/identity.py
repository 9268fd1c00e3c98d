"""Check that a checkpoint file belongs to a database of runs, and contains the final states of its runs.

Both files store the same random identity. Without it, a checkpoint file that is missing, emptied or of another server
would be mistaken for a new one, and every thread would appear to have no state.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from runstead.infra.engines.sqlite import SqliteDatabase
from runstead.resources.storage_errors import StorageUnusable

from .driver import Driver, driver_of

_log = logging.getLogger(__name__)

_NAMED: Final = 10
"""Maximum number of runs that a log line names."""

_LABEL: Final = "UPDATE syncs SET identity = ?"
FOUND: Final = "SELECT identity FROM syncs"
EXPECTED: Final = "SELECT identity FROM checkpoint_identity"
WITH_STATE: Final = "SELECT count(DISTINCT thread_id) FROM runs WHERE final_checkpoint_id IS NOT NULL"
# The last run of each thread that is not temporary, if it has ended. A power cut can only affect the latest runs.
_LAST_RUNS: Final = """
    SELECT r.thread_id, r.run_id, r.final_checkpoint_id FROM runs r JOIN threads t ON t.thread_id = r.thread_id
    WHERE r.final_checkpoint_id IS NOT NULL AND NOT t.temporary AND r.queue_seq = (
        SELECT max(queue_seq) FROM runs WHERE thread_id = r.thread_id
    )
    ORDER BY r.queue_seq DESC LIMIT 500
"""
_LATEST: Final = """
    SELECT metadata FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = '' ORDER BY position DESC LIMIT 1
"""
_STORED: Final = "SELECT 1 FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id = ?"


async def check_pair(runs: SqliteDatabase, checkpoints: SqliteDatabase, file: Path) -> None:
    """Store the same identity in both files at their first start, and compare it at every later one.

    Logs the runs whose final state is not in ``file``. Raises StorageUnusable if ``file`` does not belong to ``runs``.
    """
    expected = await runs.read(lambda connection: _one(driver_of(connection), EXPECTED))
    found = await checkpoints.read(lambda connection: _one(driver_of(connection), FOUND))
    with_state = 0
    if expected is None or found is None:
        with_state = await runs.read(lambda connection: _one(driver_of(connection), WITH_STATE))
    if (problem := mismatch(expected, found, with_state, runs.path, file)) is not None:
        raise StorageUnusable(problem)
    if expected is None or found is None:
        # The checkpoint file first: after a crash in between, the next start adopts its identity.
        identity = found or str(uuid.uuid4())
        await checkpoints.write(lambda connection: driver_of(connection).execute(_LABEL, (identity,)))
        await runs.write(lambda connection: _expect(driver_of(connection), identity))
    await _report_missing(runs, checkpoints, file)


def mismatch(expected: str | None, found: str | None, with_state: int, runs: Path, file: Path) -> str | None:
    """Return why ``file`` cannot belong to ``runs``, and the remedy; None if it can.

    ``with_state``: number of threads of ``runs`` whose state should be in the file with the identity ``expected``.
    """
    if expected is not None and found is None and with_state:
        return (
            f"{file} is missing or empty, but {with_state} threads of {runs} have their state in it; put it "
            f"back from a backup, or move {runs} away too and start without these threads"
        )
    if expected is not None and found is not None and expected != found:
        return (
            f"{file} belongs to another database than {runs}; put back the file that was beside it, or use the "
            "--data-dir that both are from"
        )
    return None


def _expect(driver: Driver, identity: str) -> None:
    driver.execute("DELETE FROM checkpoint_identity")
    driver.execute("INSERT INTO checkpoint_identity (identity) VALUES (?)", (identity,))


async def _report_missing(runs: SqliteDatabase, checkpoints: SqliteDatabase, file: Path) -> None:
    last = await runs.read(lambda connection: driver_of(connection).execute(_LAST_RUNS).fetchall())
    missing = await checkpoints.read(lambda connection: _missing(driver_of(connection), last))
    if missing:
        _log.error(
            "the final state of %d runs is not in %s; their threads are at an earlier state: %s%s",
            len(missing),
            file,
            ", ".join(missing[:_NAMED]),
            ", ..." if len(missing) > _NAMED else "",
        )


def _missing(driver: Driver, last_runs: Sequence[Any]) -> list[str]:
    """Return the runs whose final checkpoint is not stored and whose thread was not changed by a state update since."""
    missing = []
    for thread_id, run_id, checkpoint_id in last_runs:
        if driver.execute(_STORED, (thread_id, checkpoint_id)).fetchone() is not None:
            continue
        latest = driver.execute(_LATEST, (thread_id,)).fetchone()
        writer = None if latest is None else json.loads(latest[0] or b"{}").get("run_id")
        if latest is None or (writer is not None and writer != run_id):
            missing.append(f"run {run_id} of thread {thread_id}")
    return missing


def _one(driver: Driver, statement: str) -> Any:
    row = driver.execute(statement).fetchone()
    return None if row is None else row[0]
