"""Refuse files whose checkpoints name anything that no server would call, before any row is written."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Final

from runstead.infra.checkpoints.blocked_names import BlockedNames
from runstead.infra.storage import checkpoint_tables as tables

from .archive import Archive, table_of
from .exceptions import UnsafeValues
from .row_codec import RowCodec
from .writer import named

_VALUES: Final[Mapping[str, str]] = {
    "checkpoints": "checkpoint",
    "writes": "value",
    "mark_checkpoints": "checkpoint",
    "mark_writes": "value",
}
"""The column with the value whose type is in the column ``type``."""
_LOGGED_AT_MOST: Final = 20

_log = logging.getLogger(__name__)


def check_values(archive: Archive, blocked: BlockedNames) -> None:
    """Check all checkpoint values. Raises UnsafeValues, or FileUnusable for a damaged file.

    The log names the affected rows, up to a maximum number.
    """
    count, names = 0, set[str]()
    for row, name in _found(archive, blocked):
        count += 1
        names.add(name)
        if count <= _LOGGED_AT_MOST:
            _log.error("%s: %s names %s, which is not data", archive.path, row, name)
    if count:
        raise UnsafeValues(archive.path, count, sorted(names)[:_LOGGED_AT_MOST])


def _found(archive: Archive, blocked: BlockedNames) -> Iterator[tuple[str, str]]:
    lines = {name: RowCodec(tables.metadata.tables[name]) for name in _VALUES}
    for member in archive.manifest.members:
        with archive.reporting_corruption(member.name):
            for line in archive.lines(member):
                if (table := lines.get(table_of(line))) is None:
                    continue
                row = table.row(line)
                value = row[_VALUES[table.table.name]]
                if value is not None and (name := blocked.first(row["type"], value)) is not None:
                    yield named(table.table.name, [row[column.name] for column in table.table.primary_key]), name
