"""Export a database into a file, from one snapshot."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Table

from runstead.infra.storage.migrations import HEAD
from runstead.version import __version__

from .archive import MEMBER_BYTES, ArchiveWriter
from .endpoints import Place
from .exceptions import FileUnusable
from .manifest import Manifest, columns_now
from .reader import Sums, placed_rows
from .row_codec import texts_with_nul
from .sequences import sequences_of
from .table_groups import TABLE_GROUPS

_MOST_LISTED: Final = 20
"""Maximum number of named rows that PostgreSQL cannot store."""


async def export(place: Place, path: Path, *, member_bytes: int = MEMBER_BYTES) -> Manifest:
    """Export all rows of ``place`` to ``path``, which must not exist yet.

    Memory use does not grow with the data: some rows of each table are held at a time. An interrupted export leaves no
    file and has to be started again. Raises TransferError, StorageError.
    """
    # May be repeated from the beginning if the connection is lost.
    return await place.database.read(lambda connection: _export(connection, place, path, member_bytes))


def _export(connection: Connection, place: Place, path: Path, member_bytes: int) -> Manifest:
    if path.exists():
        raise FileUnusable(path, "is there already; give another name, or move it away")
    place.refuse_while_used(connection)
    sums, nul = Sums(), list[str]()
    with ArchiveWriter.writing(path, member_bytes=member_bytes) as archive:
        for part in TABLE_GROUPS:
            before: object = None
            with placed_rows(connection, part) as rows:
                for placed, row in rows:
                    table = part.tables[placed.table]
                    archive.add(part.name, placed.line, begins=placed.belongs != before)
                    sums.add(table, placed.line)
                    before = placed.belongs
                    if len(nul) < _MOST_LISTED:
                        nul += _named(table, (*placed.belongs, *placed.rest), texts_with_nul(list(table.c), row))
        archive.close_members()
        manifest = Manifest(
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            runstead=__version__,
            source=connection.dialect.name,
            revision=HEAD,
            tables=sums.totals(),
            columns=columns_now(),
            counters=sequences_of(connection),
            members=archive.members,
            nul=nul,
        )
        archive.finish(manifest)
    return manifest


def _named(table: Table, key: tuple[object, ...], columns: list[str]) -> list[str]:
    return [f"{table.name} {'/'.join(map(str, chain(key)))} ({column})".replace("\0", "\\0") for column in columns]
