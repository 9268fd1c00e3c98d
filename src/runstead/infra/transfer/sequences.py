"""Counters of auto-generated numbers, which must continue above all imported numbers.

A counter may be higher than any row: a number is never assigned twice, even after its row was deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Column, Connection, Table, func, select, text

from runstead.runtime.json_types import JsonObject

from .table_groups import moved_tables


def sequence_columns() -> Iterator[tuple[Table, Column[object]]]:
    for table in moved_tables():
        for column in table.c:
            if column is table.autoincrement_column or column.identity is not None:
                yield table, column


def sequences_of(connection: Connection) -> Mapping[str, int]:
    """Return the highest number assigned so far, by ``table.column``; 0 if none."""
    return {f"{table.name}.{column.name}": _highest(connection, table, column) for table, column in sequence_columns()}


def advance_sequences(connection: Connection, wanted: Mapping[str, int]) -> None:
    """Raise each counter to at least the given number. A higher counter stays."""
    for table, column in sequence_columns():
        number = max(wanted[f"{table.name}.{column.name}"], _highest(connection, table, column))
        if number == 0:
            continue
        if connection.dialect.name == "postgresql":
            sequence = _sequence(connection, table, column)
            connection.execute(text("SELECT setval(CAST(:name AS regclass), :number)"), _named(sequence, number))
        elif column is table.autoincrement_column:
            raised = connection.execute(
                text("UPDATE sqlite_sequence SET seq = :number WHERE name = :name"), _named(table.name, number)
            )
            if raised.rowcount == 0:
                connection.execute(
                    text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :number)"), _named(table.name, number)
                )


def _highest(connection: Connection, table: Table, column: Column[Any]) -> int:
    of_rows = connection.execute(select(func.max(column))).scalar() or 0
    if connection.dialect.name == "postgresql":
        sequence = _sequence(connection, table, column)
        given = connection.exec_driver_sql(f"SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}")
    else:
        # Where SQLite only counts rows, this table has no entry.
        given = connection.execute(text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
    return max(of_rows, given.scalar() or 0)


def _sequence(connection: Connection, table: Table, column: Column[Any]) -> str:
    """Return the sequence's name for use in SQL, with its schema."""
    found = connection.execute(select(func.pg_get_serial_sequence(table.name, column.name))).scalar()
    if found is None:
        raise LookupError(f"{table.name}.{column.name} has no sequence in this database")
    return str(found)


def _named(name: str, number: int) -> JsonObject:
    return {"name": name, "number": number}
