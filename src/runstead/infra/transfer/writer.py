"""Write lines of a file as rows. Existing rows must be the same; nothing is overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, TextClause, bindparam, select, text

from runstead.runtime.json_types import JsonMapping

from .archive import Archive, table_of
from .exceptions import RowsDiffer
from .manifest import Member
from .row_codec import CorruptLine, RowCodec
from .table_groups import group_named

_ROWS: Final = 200
_BYTES: Final = 4 * 1024 * 1024
"""Maximum number of rows and bytes of one insert."""


def write_member(connection: Connection, archive: Archive, member: Member, tables: frozenset[str], place: str) -> int:
    """Write a member's rows of ``tables``; return how many of them were new.

    Raises RowsDiffer or FileUnusable: the caller's transaction must not be committed then.
    """
    filler = _Filler(connection, member, place)
    new = 0
    with archive.reporting_corruption(member.name):
        for table, lines in _batches(archive, member, tables):
            new += filler.fill(table, lines)
    return new


def _batches(archive: Archive, member: Member, tables: frozenset[str]) -> Iterator[tuple[str, Sequence[bytes]]]:
    """Yield consecutive lines of one table."""
    batch, size, current = list[bytes](), 0, ""
    for line in archive.lines(member):
        name = table_of(line)
        if batch and (name != current or len(batch) == _ROWS or size >= _BYTES):
            yield current, batch
            batch, size = [], 0
        current = name
        if name in tables:
            batch.append(line)
            size += len(line)
    if batch:
        yield current, batch


class _Filler:
    """Writes rows of one part."""

    def __init__(self, connection: Connection, member: Member, place: str) -> None:
        self._connection, self._place = connection, place
        try:
            self._lines = {table.name: RowCodec(table) for table in group_named(member.part).tables}
        except KeyError as error:
            raise CorruptLine(f"there is no part {member.part!r}") from error
        self._inserts = {name: _insert(connection, lines) for name, lines in self._lines.items()}

    def fill(self, name: str, batch: Sequence[bytes]) -> int:
        if name not in self._lines:
            raise CorruptLine(f"rows of {name!r} are not expected here")
        lines = self._lines[name]
        rows = [lines.row(line) for line in batch]
        values = [{f"v{place}": value for place, value in enumerate(row.values())} for row in rows]
        new = self._connection.execute(self._inserts[name], values).rowcount
        if new != len(rows):
            self._compare(lines, rows, batch)
        return new

    def _compare(self, lines: RowCodec, rows: Sequence[JsonMapping], batch: Sequence[bytes]) -> None:
        """Check rows of which some existed before: all must match now. Raises RowsDiffer for one that does not."""
        key = lines.table.primary_key.columns
        for row, line in zip(rows, batch, strict=True):
            same = select(*lines.table.c).where(*(column == row[column.name] for column in key))
            there = self._connection.execute(same).first()
            if there is None or lines.line(there) != line:
                raise RowsDiffer(self._place, [named(lines.table.name, [row[column.name] for column in key])])


def named(table: str, key: Sequence[object]) -> str:
    return f"{table} {'/'.join(map(str, key))}"


def _insert(connection: Connection, lines: RowCodec) -> TextClause:
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(name) for name in lines.names)
    slots = ", ".join(f":v{place}" for place in range(len(lines.names)))
    # Columns that PostgreSQL would number itself get the numbers of the file.
    ours = "OVERRIDING SYSTEM VALUE " if connection.dialect.name == "postgresql" else ""
    return text(
        f"INSERT INTO {quote(lines.table.name)} ({columns}) {ours}VALUES ({slots}) ON CONFLICT DO NOTHING"
    ).bindparams(*(bindparam(f"v{place}", type_=column.type) for place, column in enumerate(lines.table.c)))
