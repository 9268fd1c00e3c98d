"""The few constructs that differ between engines, in one place."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    LargeBinary,
    Table,
    Text,
    and_,
    bindparam,
    column,
    false,
    func,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from runstead.runtime.json_types import JsonMapping
from runstead.runtime.metadata_filter import (
    AllOf,
    AnyOf,
    FieldEquals,
    MetadataFilter,
    json_contains,
    matches_metadata,
)

from . import json_text
from .column_types import is_of
from .prepared import Prepared

_CONTAINS = "json_contains"
_FIELD_EQUALS = "json_field_equals"
_MOST_MARKS = 8
_PLAIN = re.compile(r"[A-Za-z0-9_ -]+")


class contains(FunctionElement[bool]):  # noqa: N801  (reads as the SQL function it is)
    """SQL condition: a column of JSON text contains a value, as `json_contains` defines it."""

    type = Boolean()
    inherit_cache = True


@compiles(contains, "postgresql")
def _contains_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    stored, wanted = element.clauses
    text = compiler.process(stored, **options)
    if is_of(stored.type, LargeBinary):
        text = f"convert_from({text}, 'UTF8')"
    # A function of ours, with an index over it; see the revision that creates them.
    return f"(runstead_json({text}) @> runstead_json({compiler.process(wanted, **options)}))"


class text_contains_any(FunctionElement[bool]):  # noqa: N801
    """SQL condition: a column of JSON text contains a piece of text.

    It is TRUE on engines where the condition beside it is as fast without it.
    """

    type = Boolean()
    inherit_cache = True


@compiles(text_contains_any, "sqlite")
def _mentions_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"(instr({compiler.process(element.clauses, **options)}) > 0)"


@compiles(text_contains_any, "postgresql")
def _mentions_on_postgresql(element: object, compiler: object, **options: object) -> str:
    return "TRUE"


class field_equals(FunctionElement[bool]):  # noqa: N801
    """SQL condition: a key of a column of JSON text exists and equals a value; see `FieldEquals`."""

    type = Boolean()
    inherit_cache = True


@compiles(field_equals, "postgresql")
def _field_equals_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    stored, key, wanted = (compiler.process(clause, **options) for clause in element.clauses)
    # Null if the key is absent, which is equivalent to false wherever this condition is used.
    return f"((runstead_json({stored}) -> {key}) = runstead_json({wanted}))"


class lowered(FunctionElement[str]):  # noqa: N801
    """SQL expression: a text in lower case, in any alphabet."""

    type = Text()
    inherit_cache = True


def _call_on(dialect: str, element: type[FunctionElement[Any]], function: str) -> None:
    """Compile an element to a call of a SQL function on one engine."""

    @compiles(element, dialect)
    def call(element: Any, compiler: Any, **options: Any) -> str:
        return f"{function}({compiler.process(element.clauses, **options)})"


_call_on("sqlite", contains, _CONTAINS)
_call_on("sqlite", field_equals, _FIELD_EQUALS)
_call_on("sqlite", lowered, "lower")
_call_on("postgresql", lowered, "runstead_lower")


def containing(column: ColumnElement[Any], wanted: JsonMapping) -> ColumnElement[bool]:
    """Return the condition that ``column`` contains every pair of ``wanted``."""
    # SQLite's own functions release the GIL; ours hold it, and parse every value that they examine.
    marks = [text_contains_any(column, literal(mark)) for mark in islice(_marks(wanted), _MOST_MARKS)]
    return and_(*marks, contains(column, literal(json_text.dump(wanted))))


def _marks(wanted: object) -> Iterator[str]:
    """Yield texts that occur in all JSON that contains ``wanted``: names and values with only one spelling."""
    if isinstance(wanted, Mapping):
        for name, value in wanted.items():
            if _PLAIN.fullmatch(name):
                yield f'"{name}"'
            yield from _marks(value)
    elif isinstance(wanted, list | tuple):
        for value in wanted:
            yield from _marks(value)
    elif isinstance(wanted, str) and _PLAIN.fullmatch(wanted):
        yield f'"{wanted}"'


def metadata_matches(column: ColumnElement[Any], wanted: MetadataFilter) -> ColumnElement[bool]:
    """Return the condition that the metadata in ``column`` match a filter."""
    match wanted:
        case AllOf(parts):
            return and_(true(), *(metadata_matches(column, part) for part in parts))
        case AnyOf(parts):
            return or_(false(), *(metadata_matches(column, part) for part in parts))
        case FieldEquals(key, value):
            return field_equals(column, literal(key), literal(json_text.dump(value)))
        case _:
            return containing(column, wanted)


def prepare_sqlite(connection: sqlite3.Connection) -> None:
    """Add the functions that statements here use to a SQLite connection."""
    connection.create_function(_CONTAINS, 2, _text_contains, deterministic=True)
    connection.create_function(_FIELD_EQUALS, 3, _text_field_equals, deterministic=True)
    # SQLite's own function only supports ASCII letters.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _text_contains(stored: str | bytes | None, wanted: str) -> bool:
    if stored is None:
        return False
    try:
        value = json_text.load(stored if isinstance(stored, str) else stored.decode())
    except ValueError:
        return False
    return json_contains(value, _wanted(wanted))


def _text_field_equals(stored: str | bytes | None, key: str, wanted: str) -> bool:
    if stored is None:
        return False
    try:
        value = json_text.load(stored if isinstance(stored, str) else stored.decode())
    except ValueError:
        return False
    return matches_metadata(value, FieldEquals(key, _wanted(wanted)))


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


@lru_cache(maxsize=64)
def _wanted(text: str) -> Any:
    return json_text.load(text)


def add_unless_there(connection: Connection, table: Table, values: JsonMapping) -> bool:
    """Insert a row; return False if its key exists, also if it was inserted concurrently."""
    statement = _insert_unless_there(connection.dialect.name, table)
    return connection.execute(statement, dict(values)).first() is not None


@lru_cache(maxsize=64)
def _insert_unless_there(dialect: str, table: Table) -> Any:
    insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    # The returned row shows whether it was written; not every driver reports a row count.
    return insert(table).on_conflict_do_nothing().returning(*table.primary_key)


def put_row(connection: Connection, table: Table, values: JsonMapping, *, kept: tuple[str, ...] = ()) -> None:
    """Insert a row, or update the row with its key, except for the ``kept`` columns."""
    connection.execute(_upsert(connection.dialect.name, table, tuple(values), kept), dict(values))


@lru_cache(maxsize=64)
def _upsert(dialect: str, table: Table, columns: tuple[str, ...], kept: tuple[str, ...]) -> Any:
    statement: Any = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in columns if name not in (*keys, *kept)}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def lock_thread(connection: Connection, threads: Table, thread_id: str) -> None:
    """Lock a thread, so that no other transaction decides about it until this one ends.

    SQLite's single writer needs no lock. A deleted thread cannot be locked, but nothing is decided about it either.
    """
    if connection.dialect.name != "sqlite":
        _locking(threads).first(connection, {"the_thread": thread_id})


@lru_cache
def _locking(threads: Table) -> Prepared:
    return Prepared(select(threads.c.thread_id).where(threads.c.thread_id == bindparam("the_thread")).with_for_update())


def line_up(connection: Connection, thread_ids: Iterable[str]) -> None:
    """Serialize transactions that lock several threads: with different lock orders they would deadlock.

    Holds until the transaction ends, also for threads that do not exist yet.
    """
    wanted = sorted(set(thread_ids))
    if connection.dialect.name == "postgresql" and len(wanted) > 1:
        turns = select(func.pg_advisory_xact_lock(func.hashtextextended(column("one"), 0))).select_from(
            func.unnest(literal(wanted, postgresql.ARRAY(Text))).alias("one")
        )
        connection.execute(turns).close()


def lock_thread_of(connection: Connection, runs: Table, threads: Table, run_id: str) -> str | None:
    """Lock the thread that a run is on; see `lock_thread`. Return its status, or None where nothing was read."""
    if connection.dialect.name == "sqlite":
        return None
    row = _locking_of(runs, threads).first(connection, {"the_run": run_id})
    return None if row is None else row[0]


@lru_cache
def _locking_of(runs: Table, threads: Table) -> Prepared:
    on = select(runs.c.thread_id).where(runs.c.run_id == bindparam("the_run")).scalar_subquery()
    return Prepared(select(threads.c.status).where(threads.c.thread_id == on).with_for_update())
