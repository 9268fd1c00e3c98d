"""Rows of a database in the order of the file: one pass over each table, and one row of each in memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Table, select

from .lines import Lines
from .parts import PARTS, Part, moved_tables

_AT_ONCE: Final = 50
"""Rows that PostgreSQL sends at a time, of each table. They may be large."""


class Placed(NamedTuple):
    """A row, and where it stands. ``belongs``: rows that agree in it stay together. Sorts like the file."""

    belongs: tuple[Any, ...]
    table: int
    rest: tuple[Any, ...]
    line: bytes


def placed_rows(connection: Connection, part: Part) -> Iterator[tuple[Placed, Any]]:
    """All rows of a part as lines, each with the row itself. The transaction is one snapshot."""
    streams = [_of_table(connection, part, number) for number in range(len(part.tables))]
    # Sorted alike by all that compares them: SQLite's bytes, PostgreSQL's "C", and Python's characters.
    return heapq.merge(*streams, key=lambda found: found[0][:2])


def _of_table(connection: Connection, part: Part, number: int) -> Iterator[tuple[Placed, Any]]:
    table, order = part.tables[number], part.orders[number]
    lines, width = Lines(table), len(part.key)
    places = [list(table.c).index(column) for column in order]
    statement = select(*table.c).order_by(*order)
    with connection.execute(statement, execution_options={"yield_per": _AT_ONCE}) as rows:
        for row in rows:
            key = tuple(row[place] for place in places)
            yield Placed(key[:width], number, key[width:], lines.line(row)), row


@dataclass(frozen=True, slots=True)
class TableSum:
    """How many rows a table has, and the SHA-256 of their lines in the order of the file."""

    rows: int
    sha256: str


class Sums:
    """Adds up rows as they pass by in the order of the file."""

    def __init__(self) -> None:
        self._hashes = {table.name: sha256() for table in moved_tables()}
        self._rows = dict.fromkeys(self._hashes, 0)

    def add(self, table: Table, line: bytes) -> None:
        self._hashes[table.name].update(line)
        self._rows[table.name] += 1

    def totals(self) -> Mapping[str, TableSum]:
        return {name: TableSum(self._rows[name], found.hexdigest()) for name, found in self._hashes.items()}


def sums_of(connection: Connection) -> Mapping[str, TableSum]:
    """Those of all that is there. Reads everything."""
    sums = Sums()
    for part in PARTS:
        for placed, _ in placed_rows(connection, part):
            sums.add(part.tables[placed.table], placed.line)
    return sums.totals()


def is_empty(connection: Connection) -> bool:
    """No table has a row that would be moved."""
    return all(connection.execute(select(*table.c).limit(1)).first() is None for table in moved_tables())
