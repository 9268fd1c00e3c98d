"""Column types with the same meaning on every engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, DateTime, Dialect, Integer
from sqlalchemy import Text as AnyText
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC with microseconds. SQLite, which has no type for times, stores microseconds since 1970."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> object:
        if value is None or dialect.name != "sqlite":
            return value
        return (value - _EPOCH) // _TICK

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name != "sqlite":
            moment: datetime = value
            return moment.astimezone(UTC)
        return _EPOCH + timedelta(microseconds=value)


# SQLite auto-increments only a column that is declared INTEGER PRIMARY KEY.
Counter: Final = BigInteger().with_variant(Integer(), "sqlite")

Text: Final = AnyText().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text that every engine compares and sorts by code points, independent of the server's language."""


def is_of(found: TypeEngine[Any], kind: type[TypeEngine[Any]]) -> bool:
    """Return whether a column's type is ``kind``, or one of our types based on it."""
    return isinstance(found, kind) or (isinstance(found, TypeDecorator) and isinstance(found.impl_instance, kind))
