"""A row as a line of the file: a JSON array of the table's name and the row's values, in the order of its columns.

The same row gives the same bytes, whichever engine it was read from; the hashes depend on that. Bytes are encoded as
base64, times in UTC with microseconds (ISO 8601), and numbers without a JSON form as text ("inf").
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import orjson
from sqlalchemy import Boolean, Column, Float, LargeBinary, Table

from runstead.infra.storage.column_types import UtcTime, is_of
from runstead.runtime.json_types import JsonObject

_LARGEST: Final = 2**63
"""Smallest integer that is too large for a database column."""
_Change: TypeAlias = Callable[[Any], Any] | None


class CorruptLine(ValueError):
    """A line that is not a row of its table."""


class RowCodec:
    """Encodes and decodes the rows of one table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.names: Final = tuple(column.name for column in table.c)
        self.prefix: Final = orjson.dumps([table.name])[:-1] + b","
        self._out = tuple((place, change) for place, change in _changes(table, _WRITING))
        self._keys = tuple(
            (place, kind)
            for place, column in enumerate(table.c)
            if column.primary_key and (kind := column.type.python_type) in (int, str)
        )
        self._in = tuple((place, change) for place, change in _changes(table, _READING))

    def line(self, row: Sequence[object]) -> bytes:
        """Return the line for ``row``, the values of all columns in their order."""
        values = [self.table.name, *row]
        for place, change in self._out:
            if (value := values[place + 1]) is not None:
                values[place + 1] = change(value)
        return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)

    def row(self, line: bytes) -> JsonObject:
        """Return the values by column name. Raises CorruptLine."""
        try:
            name, *values = orjson.loads(line)
            if name != self.table.name or len(values) != len(self.names):
                raise CorruptLine(f"this is not a row of {self.table.name}: {line[:200]!r}")
            for value in values:
                if isinstance(value, (list, dict)) or (isinstance(value, int) and not -_LARGEST <= value < _LARGEST):
                    raise CorruptLine(
                        f"a row of {self.table.name} has a value that its columns cannot hold: {line[:200]!r}"
                    )
            for place, change in self._in:
                if values[place] is not None:
                    values[place] = change(values[place])
            for place, kind in self._keys:
                if type(values[place]) is not kind:
                    # Rows are sorted and compared by their keys.
                    raise CorruptLine(f"the key of a row of {self.table.name} is {values[place]!r}: {line[:200]!r}")
        except CorruptLine:
            raise
        except (ArithmeticError, TypeError, ValueError) as error:
            raise CorruptLine(f"this is not a row of {self.table.name}: {line[:200]!r}") from error
        return dict(zip(self.names, values, strict=True))


def _changes(
    table: Table, changes: Mapping[type, Callable[[Any], Any]]
) -> list[tuple[int, Callable[[object], object]]]:
    return [
        (place, change)
        for place, column in enumerate(table.c)
        for kind, change in changes.items()
        if is_of(column.type, kind)
    ]


def _text_of_bytes(value: Any) -> str:
    # SQLite stores values as given, and another program may have stored text.
    return b64encode(value.encode() if isinstance(value, str) else value).decode("ascii")


def _text_of_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def _said_of_number(value: float) -> float | str:
    # 60 and 60.0 are the same number and must give the same line.
    return float(value) if math.isfinite(value) else repr(float(value))


_WRITING: Final[Mapping[type, Callable[[Any], Any]]] = {
    LargeBinary: _text_of_bytes,
    UtcTime: _text_of_time,
    Float: _said_of_number,
    Boolean: bool,
}


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


_READING: Final[Mapping[type, Callable[[Any], Any]]] = {
    Boolean: _truth,
    LargeBinary: lambda text: b64decode(text, validate=True),
    UtcTime: datetime.fromisoformat,
    Float: float,
}


def texts_with_nul(columns: Sequence[Column[object]], row: Sequence[object]) -> list[str]:
    """Return the columns whose text contains a NUL, which PostgreSQL cannot store."""
    return [column.name for column, value in zip(columns, row, strict=True) if isinstance(value, str) and "\0" in value]
