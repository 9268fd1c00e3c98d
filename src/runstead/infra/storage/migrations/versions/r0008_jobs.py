"""procrastinate's tables and functions, beside ours: a run's job is written in the run's own transaction.

They are those of the release that pyproject.toml names; a later release that changes them needs a revision of its own.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    # Imported here, since it need not be installed for SQLite.
    from procrastinate.schema import SchemaManager

    # Passed to the driver directly: its functions contain text that looks like parameters.
    connection.connection.cursor().execute(SchemaManager.get_schema())
