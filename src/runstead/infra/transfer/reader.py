"""Rows of a database in the order of the file: one pass over each table, with one row of each in memory."""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Table, select

from .row_codec import RowCodec
from .table_groups import TABLE_GROUPS, TableGroup, moved_tables

_AT_ONCE: Final = 50
"""Rows that PostgreSQL sends at a time, for each table. Rows may be large."""


class Placed(NamedTuple):
    """A row and its position. Rows with the same ``belongs`` stay together. Sorts in the order of the file."""

    belongs: tuple[object, ...]
    table: int
    rest: tuple[object, ...]
    line: bytes


@contextmanager
def placed_rows(connection: Connection, part: TableGroup) -> Iterator[Iterator[tuple[Placed, Any]]]:
    """Yield all rows of a part as lines, each with the row itself, for the length of a block.

    The transaction is one snapshot.
    """
    with ExitStack() as stack:
        streams = [
            stack.enter_context(closing(_of_table(connection, part, number))) for number in range(len(part.tables))
        ]
        # The order is the same for everything that compares: SQLite's bytes, PostgreSQL's "C", and Python's characters.
        yield heapq.merge(*streams, key=lambda found: found[0][:2])


def _of_table(connection: Connection, part: TableGroup, number: int) -> Generator[tuple[Placed, object], None, None]:
    table, order = part.tables[number], part.orders[number]
    lines, width = RowCodec(table), len(part.key)
    places = [list(table.c).index(column) for column in order]
    statement = select(*table.c).order_by(*order)
    with connection.execute(statement, execution_options={"yield_per": _AT_ONCE}) as rows:
        for row in rows:
            key = tuple(row[place] for place in places)
            yield Placed(key[:width], number, key[width:], lines.line(row)), row


@dataclass(frozen=True, slots=True)
class TableSum:
    """The number of rows of a table, and the SHA-256 of their lines in the order of the file."""

    rows: int
    sha256: str


class Sums:
    """Accumulates counts and hashes of rows that are added in the order of the file."""

    def __init__(self) -> None:
        self._hashes = {table.name: sha256() for table in moved_tables()}
        self._rows = dict.fromkeys(self._hashes, 0)

    def add(self, table: Table, line: bytes) -> None:
        self._hashes[table.name].update(line)
        self._rows[table.name] += 1

    def totals(self) -> Mapping[str, TableSum]:
        return {name: TableSum(self._rows[name], found.hexdigest()) for name, found in self._hashes.items()}


def sums_of(connection: Connection) -> Mapping[str, TableSum]:
    """Return the sums of all rows in the database. Reads everything."""
    sums = Sums()
    for part in TABLE_GROUPS:
        with placed_rows(connection, part) as rows:
            for placed, _ in rows:
                sums.add(part.tables[placed.table], placed.line)
    return sums.totals()


def is_empty(connection: Connection) -> bool:
    """Return whether no table has a row that would be transferred."""
    return all(connection.execute(select(*table.c).limit(1)).first() is None for table in moved_tables())
