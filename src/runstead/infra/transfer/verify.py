"""Compare a database with an export file: by counts and hashes, and row by row in tables where these differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection

from .archive import Archive, table_of
from .reader import Placed, placed_rows, sums_of
from .row_codec import CorruptLine, RowCodec
from .table_groups import TABLE_GROUPS, TableGroup
from .writer import named

_MOST_LISTED: Final = 5


@dataclass(slots=True)
class TableDifference:
    """The number of missing, different and additional rows of a table, and the names of the first ones."""

    missing: int = 0
    differing: int = 0
    more: int = 0
    first_missing: list[str] = field(default_factory=list)
    first_differing: list[str] = field(default_factory=list)

    def note_missing(self, name: str) -> None:
        self.missing += 1
        if self.missing <= _MOST_LISTED:
            self.first_missing.append(name)

    def note_differing(self, name: str) -> None:
        self.differing += 1
        if self.differing <= _MOST_LISTED:
            self.first_differing.append(name)

    def summary(self) -> str:
        names = [*self.first_missing, *self.first_differing]
        first = f" ({', '.join(names)})" if names else ""
        return f"{self.missing} missing, {self.differing} different, {self.more} more{first}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result. ``tables``: those with a difference; empty if the database has exactly the rows of the file."""

    tables: dict[str, TableDifference]

    @property
    def contains_file(self) -> bool:
        """Return whether every row of the file is in the database unchanged; there may be others."""
        return not any(found.missing or found.differing for found in self.tables.values())

    @property
    def differing(self) -> list[str]:
        return [name for found in self.tables.values() for name in found.first_differing][:_MOST_LISTED]

    @property
    def more(self) -> int:
        return sum(found.more for found in self.tables.values())

    def summary(self) -> list[str]:
        return [f"{table}: {found.summary()}" for table, found in self.tables.items()]


def compare(connection: Connection, archive: Archive) -> Comparison:
    """Compare by counts and hashes, and row by row only where they differ. Reads everything. Raises FileUnusable."""
    found, wanted = sums_of(connection), archive.manifest.tables
    different = [name for name in wanted if found[name] != wanted[name]]
    if not different:
        return Comparison({})
    differences = {name: TableDifference() for name in different}
    for part in TABLE_GROUPS:
        if any(table.name in differences for table in part.tables):
            _compare_part(connection, archive, part, differences)
    return Comparison(differences)


def _compare_part(connection: Connection, archive: Archive, part: TableGroup, into: dict[str, TableDifference]) -> None:
    with placed_rows(connection, part) as rows:
        _compare_rows(part, _rows_of_file(archive, part), (placed for placed, _ in rows), into)


def _compare_rows(
    part: TableGroup, of_file: Iterator[Placed], there: Iterator[Placed], into: dict[str, TableDifference]
) -> None:
    for table, ours, theirs in _side_by_side(of_file, there):
        name = part.tables[table].name
        if ours is not None and theirs is not None and ours.line == theirs.line:
            continue
        difference = into.setdefault(name, TableDifference())
        if ours is None:
            difference.more += 1
        elif theirs is None:
            difference.note_missing(named(name, (*ours.belongs, *ours.rest)))
        else:
            difference.note_differing(named(name, (*ours.belongs, *ours.rest)))


def _side_by_side(
    first: Iterator[Placed], second: Iterator[Placed]
) -> Iterator[tuple[int, Placed | None, Placed | None]]:
    """Merge two iterators with the same order; rows with the same key are yielded together."""
    left, right = next(first, None), next(second, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left[:3] < right[:3]):
            assert left is not None
            yield left.table, left, None
            left = next(first, None)
        elif left is None or right[:3] < left[:3]:
            yield right.table, None, right
            right = next(second, None)
        else:
            yield left.table, left, right
            left, right = next(first, None), next(second, None)


def _rows_of_file(archive: Archive, part: TableGroup) -> Iterator[Placed]:
    readers = {table.name: (number, RowCodec(table)) for number, table in enumerate(part.tables)}
    width = len(part.key)
    for member in archive.manifest.members:
        if member.part != part.name:
            continue
        with archive.reporting_corruption(member.name):
            for line in archive.lines(member):
                if (found := readers.get(table_of(line))) is None:
                    raise CorruptLine(f"rows of {table_of(line)!r} are not expected here")
                number, lines = found
                row = lines.row(line)
                key: Sequence[Any] = tuple(row[column.name] for column in part.orders[number])
                yield Placed(tuple(key[:width]), number, tuple(key[width:]), line)
