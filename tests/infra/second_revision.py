"""A database of the first release, and one more revision: what a later release would migrate."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from runstead.infra.storage.migrations import HEAD, REVISIONS, Revisions
from runstead.infra.storage.sqlite import open_storage

SECOND: Final = f"{int(HEAD) + 1:04}"
_SCRIPT: Final = """
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    op.execute("CREATE TABLE notes (note text)")
    op.execute("INSERT INTO notes VALUES ('migrated')")
    {then}
"""
_RUN: Final = text(
    "INSERT INTO runs (run_id, thread_id, tenant_id, user_id, assistant_id, status, created_at, updated_at, due_at,"
    " attempt, lost_attempts, dead_letter, temporary, actor, metadata, spec) VALUES ('r-1', 't-1', 'default', 'alice',"
    " 'a-1', 'pending', 0, 0, 0, 0, 0, 0, 0, :actor, :metadata, :spec)"
)
_VALUES: Final = {
    "actor": '{"user_id":"alice","tenant_id":"default"}',
    "metadata": "{}",
    "spec": '{"assistant_id":"a-1","graph_id":"g-1","scope":{"kind":"stateful"},"input":{"x":1},'
    '"stream_modes":["values"],"interrupt_before":[],"interrupt_after":[]}',
}


def second_revision(folder: Path, then: str = "") -> Revisions:
    """Return revisions with a second one that creates a table with a row, and executes ``then`` at its end."""
    scripts = folder / "revisions"
    scripts.mkdir(parents=True, exist_ok=True)
    (scripts / f"r{SECOND}.py").write_text(_SCRIPT.format(revision=SECOND, before=HEAD, then=then))
    return Revisions(SECOND, (*REVISIONS.folders, scripts))


async def first_release(path: Path) -> None:
    """Create a SQLite database of the first release with one run."""
    async with open_storage(path) as database:
        await database.write(lambda connection: connection.execute(_RUN, _VALUES).close())


def notes_of(connection: Connection) -> list[str]:
    return list(connection.execute(text("SELECT note FROM notes")).scalars())
