"""The few things that engines say differently, in one place."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection, LargeBinary, Table, insert, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from . import json_text

_CONTAINS = "json_contains"


class contains(FunctionElement[bool]):  # noqa: N801  (reads as the SQL function it is)
    """Whether a column of JSON text contains a value; see `holds` for what that means."""

    type = Boolean()
    inherit_cache = True


@compiles(contains, "sqlite")
def _contains_on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"{_CONTAINS}({compiler.process(element.clauses, **options)})"


@compiles(contains, "postgresql")
def _contains_on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    stored, wanted = element.clauses
    text = compiler.process(stored, **options)
    if isinstance(stored.type, LargeBinary):
        text = f"convert_from({text}, 'UTF8')"
    return f"(CAST({text} AS jsonb) @> CAST({compiler.process(wanted, **options)} AS jsonb))"


def containing(column: ColumnElement[Any], wanted: Mapping[str, Any]) -> ColumnElement[bool]:
    """The condition that ``column`` contains every pair of ``wanted``."""
    return contains(column, literal(json_text.dump(wanted)))


def prepare_sqlite(connection: sqlite3.Connection) -> None:
    """Give a SQLite connection the functions that statements here use."""
    connection.create_function(_CONTAINS, 2, _text_contains, deterministic=True)
    # SQLite's own knows no letters beyond ASCII.
    connection.create_function("lower", 1, _lower, deterministic=True)


def holds(stored: Any, wanted: Any) -> bool:
    """JSON containment: objects have every pair, arrays some element for each wanted one, all else is equal."""
    if isinstance(wanted, Mapping):
        return isinstance(stored, Mapping) and all(
            key in stored and holds(stored[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return isinstance(stored, list | tuple) and all(any(holds(one, value) for one in stored) for value in wanted)
    # In JSON true is no number, though it is one in Python.
    return isinstance(stored, bool) == isinstance(wanted, bool) and bool(stored == wanted)


def _text_contains(stored: str | bytes | None, wanted: str) -> bool:
    if stored is None:
        return False
    try:
        value = json_text.load(stored if isinstance(stored, str) else stored.decode())
    except ValueError:
        return False
    return holds(value, _wanted(wanted))


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


@lru_cache(maxsize=64)
def _wanted(text: str) -> Any:
    return json_text.load(text)


def add_unless_there(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row; False when its key is taken, also by one who came in between."""
    statement = _insert_unless_there(connection.dialect.name, table)
    return connection.execute(statement, dict(values)).rowcount == 1


@lru_cache(maxsize=64)
def _insert_unless_there(dialect: str, table: Table) -> Any:
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    if dialect == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return insert(table)


def lock_thread(connection: Connection, threads: Table, thread_id: str) -> None:
    """Let nobody else decide about the thread until the transaction ends.

    SQLite's one writer has that already. A thread that is gone locks nothing: nothing is decided about it either.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(
            select(threads.c.thread_id).where(threads.c.thread_id == thread_id).with_for_update()
        ).first()


def lock_thread_of(connection: Connection, runs: Table, threads: Table, run_id: str) -> None:
    """`lock_thread` for the thread that a run is on."""
    if connection.dialect.name != "sqlite":
        on = select(runs.c.thread_id).where(runs.c.run_id == run_id).scalar_subquery()
        connection.execute(select(threads.c.thread_id).where(threads.c.thread_id == on).with_for_update()).first()
