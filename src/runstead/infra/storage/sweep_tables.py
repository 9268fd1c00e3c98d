"""The table of background sweeps, of which a whole cluster makes one at a time."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Table

from .column_types import Text, UtcTime
from .tables_metadata import metadata

# How far a pass over all threads has come. ``position`` is the last thread that is done, null before the first one;
# ``began_at`` is null between two passes, and ``next_at`` is when the next one is due. ``deleted`` counts the rows that
# the current or latest pass has deleted (JSON). A process that holds the row until ``lease_until`` makes the pass.
sweeps: Final = Table(
    "sweeps",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", Text),
    Column("began_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("next_at", UtcTime, nullable=False),
    Column("holder", Text),
    Column("lease_until", UtcTime),
    Column("deleted", Text, nullable=False),
    sqlite_with_rowid=False,
)
