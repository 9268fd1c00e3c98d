"""Re-encrypt all values of a database with the current key, and count the keys in use, while servers run.

Rows are read and written in small transactions, in the order of their keys. A value is replaced only if it is
unchanged since it was read, so that no update of a server is lost; servers encrypt what they write meanwhile
themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, Table, and_, select, tuple_, update

from runstead.infra.encryption.cipher import Cipher
from runstead.runtime.json_types import JsonMapping

from ..storage.database import Database
from .recoding import keys_of, recoded

_ROWS: Final = 50
"""Number of rows read and written at a time. Rows may be large."""


@dataclass(slots=True)
class Usage:
    """The number of values that each key encrypts, by its id and by table; PLAIN for values that are not encrypted."""

    by_key: Counter[str] = field(default_factory=Counter)
    by_table: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, table: str, key_id: str) -> None:
        self.by_key[key_id] += 1
        self.by_table[table, key_id] += 1


async def usage_of(database: Database, tables: Sequence[Table], cipher: Cipher, usage: Usage) -> None:
    """Add the keys of all values in ``tables`` to ``usage``."""

    def look(connection: Connection, table: Table, rows: Sequence[JsonMapping]) -> int:
        for row in rows:
            for key_id in keys_of(cipher, table, row):
                usage.add(table.name, key_id)
        return 0

    for table in tables:
        await _each(database, table, look, writing=False)


async def rewrite(
    database: Database, tables: Sequence[Table], cipher: Cipher, progress: Callable[[str, int], None]
) -> int:
    """Encrypt every value of ``tables`` with the current key; return the number of changed rows.

    The progress callback gets each table's name and its number of changed rows. Raises CannotDecrypt.
    """

    def change(connection: Connection, table: Table, rows: Sequence[JsonMapping]) -> int:
        return sum(replaced(connection, table, row, recoded(cipher, table, row)) for row in rows)

    total = 0
    for table in tables:
        changed = await _each(database, table, change, writing=True)
        progress(table.name, changed)
        total += changed
    return total


_Work = Callable[[Connection, Table, Sequence[JsonMapping]], int]


async def _each(database: Database, table: Table, work: _Work, *, writing: bool) -> int:
    """Call ``work`` with all rows of a table, some at a time; return the sum of its results."""
    key = list(table.primary_key.columns)
    total, after = 0, None

    while True:

        def some(
            connection: Connection, after: tuple[object, ...] | None = after
        ) -> tuple[int, tuple[object, ...] | None]:
            statement = select(*table.c).order_by(*key).limit(_ROWS)
            if after is not None:
                statement = statement.where(tuple_(*key) > tuple_(*after))
            rows = [dict(row._mapping) for row in connection.execute(statement)]
            done = work(connection, table, rows)
            last = tuple(rows[-1][column.name] for column in key) if len(rows) == _ROWS else None
            return done, last

        done, after = await (database.write(some) if writing else database.read(some))
        total += done
        if after is None:
            return total


def replaced(connection: Connection, table: Table, row: JsonMapping, changed: JsonMapping) -> int:
    """Write the changed columns of a row unless one has changed since it was read; return 1 if written, else 0."""
    if not changed:
        return 0
    same_row = [column == row[column.name] for column in table.primary_key.columns]
    as_read = [table.c[name] == row[name] for name in changed if not table.c[name].primary_key]
    return connection.execute(update(table).where(and_(*same_row, *as_read)).values(**changed)).rowcount
