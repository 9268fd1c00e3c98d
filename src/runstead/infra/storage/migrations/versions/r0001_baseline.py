"""The baseline: the schema of the first release, which `migrations` creates from the definitions of its tables."""

from __future__ import annotations

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Do nothing: every database is at this revision or a later one."""
