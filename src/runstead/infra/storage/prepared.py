"""Prepared statements for the hot path, compiled once.

SQLAlchemy's overhead for a small statement is ten times as long as SQLite takes for it. Statements that every run
executes several times are therefore passed to the driver as text with values in place; the text still comes from the
table definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Dialect, Table
from sqlalchemy.dialects import postgresql, sqlite

from runstead.infra.encryption.cipher import Cipher
from runstead.runtime.json_types import JsonMapping

from .encrypted_types import cipher_of

_Convert: TypeAlias = Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True)
class _Slot:
    """The place of a value in a statement. ``fixed`` values are part of the statement."""

    name: str
    fixed: bool
    value: Any
    convert: _Convert

    def fill(self, values: JsonMapping) -> Any:
        if self.fixed:
            return self.value
        value = values[self.name]
        return value if self.convert is None else self.convert(value)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A statement in the form of one driver: with positional or with named values."""

    sql: str
    slots: tuple[_Slot, ...]
    by_place: bool
    returns: bool
    outward: tuple[tuple[int, Callable[[object], object]], ...]

    def fill(self, values: JsonMapping) -> Any:
        if self.by_place:
            return tuple([slot.fill(values) for slot in self.slots])
        return {slot.name: slot.fill(values) for slot in self.slots}

    def read(self, row: Sequence[object]) -> tuple[Any, ...]:
        read = list(row)
        for place, convert in self.outward:
            read[place] = convert(read[place])
        return tuple(read)


class Prepared:
    """A statement with named values, for any connection of a Database."""

    def __init__(self, statement: object) -> None:
        self._statement = statement
        self._ready: dict[tuple[str, Cipher | None], _Ready] = {}

    def rows(self, connection: Connection, values: JsonMapping) -> list[tuple[Any, ...]]:
        """Execute it, and return the rows that it selects or returns."""
        ready = self._for(connection)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(ready.sql, ready.fill(values))
            return [ready.read(row) for row in cursor.fetchall()] if ready.returns else []
        finally:
            cursor.close()

    def first(self, connection: Connection, values: JsonMapping) -> tuple[Any, ...] | None:
        """Execute it, and return its first row, if any."""
        rows = self.rows(connection, values)
        return rows[0] if rows else None

    def run_all(self, connection: Connection, many: Sequence[JsonMapping]) -> None:
        """Execute it once for each of ``many``."""
        ready = self._for(connection)
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(ready.sql, [ready.fill(values) for values in many])
        finally:
            cursor.close()

    def _for(self, connection: Connection) -> _Ready:
        dialect = connection.dialect
        key = (dialect.name, cipher_of(dialect))
        ready = self._ready.get(key)
        if ready is None:
            # Two threads may both get here; their results are equal.
            ready = self._ready[key] = self._compiled(dialect)
        return ready

    def _compiled(self, dialect: Dialect) -> _Ready:
        return _compile(self._statement, dialect, None)


class PreparedInsert(Prepared):
    """An INSERT of ``columns`` that does nothing, and returns nothing, if the row's key exists."""

    def __init__(self, table: Table, columns: Sequence[str], *returning: ColumnElement[object]) -> None:
        super().__init__(None)
        self._table, self._columns, self._returning = table, list(columns), returning

    def _compiled(self, dialect: Dialect) -> _Ready:
        insert: Any = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
        statement = insert(self._table).on_conflict_do_nothing().returning(*self._returning)
        return _compile(statement, dialect, self._columns)


def _compile(statement: Any, dialect: Dialect, columns: list[str] | None) -> _Ready:
    compiled = statement.compile(dialect=dialect, column_keys=columns)
    names = compiled.binds if compiled.positiontup is None else compiled.positiontup
    converters = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in _returned(statement)]
    return _Ready(
        sql=str(compiled),
        slots=tuple(_slot(name, compiled.binds[name], dialect) for name in names),
        by_place=compiled.positiontup is not None,
        returns=bool(converters),
        outward=tuple((place, convert) for place, convert in enumerate(converters) if convert is not None),
    )


def _returned(statement: Any) -> list[Any]:
    return list(statement.exported_columns) if statement.is_select or statement._returning else []


def _slot(name: str, bind: Any, dialect: Dialect) -> _Slot:
    convert: _Convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
    if bind.required:
        return _Slot(name, False, None, convert)
    value = bind.effective_value
    return _Slot(name, True, value if convert is None else convert(value), None)
