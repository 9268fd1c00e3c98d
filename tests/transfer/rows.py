"""Random rows of every table that is transferred, as extreme as their columns allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st
from sqlalchemy import Boolean, Column, Connection, Float, LargeBinary, Table, insert
from sqlalchemy import Integer as AnyInteger
from sqlalchemy.types import BigInteger

from runstead.infra.storage import json_text
from runstead.infra.storage.column_types import UtcTime, is_of
from runstead.infra.storage.schema import feedback, item_vectors, items, runs
from runstead.infra.transfer.table_groups import moved_tables

Rows: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]

# Few, so that rows of many tables share a thread; some sort differently by locale than by their bytes.
_IDS: Final = st.sampled_from(
    ["a", "B", "é", "z.z", "Ω\U0001f600", "\U0001f600", "\uffff", "0 1", "a-b", "a_b", "\x01\x7f"]
)
_TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
# As in JSON columns: NUL, lone surrogates and values without a JSON form are escaped there.
_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8) | st.just("\ud800\0"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
).map(json_text.dump)
_JSON_COLUMNS: Final = {"metadata", "config", "context", "spec", "actor", "payload", "completion", "failure", "content"}
_TIMES: Final = st.datetimes(
    datetime(1, 1, 2),
    datetime(9999, 12, 30),
    timezones=st.just(UTC),
)


def _value(column: Column[Any]) -> st.SearchStrategy[Any]:
    found: st.SearchStrategy[Any]
    match column.type:
        case kind if is_of(kind, LargeBinary):
            found = st.binary(max_size=60) | st.binary(min_size=1, max_size=4).map(lambda some: some * 20_000)
        case UtcTime():
            # An unexpired lease means a running run, and such a place is not exported.
            found = _TIMES.filter(lambda time: time.year < 2000) if column.name == "lease_until" else _TIMES
        case Boolean():
            found = st.booleans()
        case Float():
            found = st.floats(allow_nan=False)
        case BigInteger():
            found = st.integers(1, 2**50)
        case AnyInteger():
            found = st.integers(-(2**31), 2**31 - 1)
        case _ if column.primary_key or column.name.endswith("_id"):
            found = _IDS
        case _ if column.name in _JSON_COLUMNS:
            found = _JSON
        case _:
            found = _TEXTS
    return found | st.none() if column.nullable else found


def _unique(table: Table) -> list[tuple[str, ...]]:
    keys = [tuple(column.name for column in table.primary_key.columns)]
    keys += [tuple(column.name for column in index.columns) for index in table.indexes if index.unique]
    # Assigned by the database, so no two rows have the same.
    keys += [(column.name,) for column in table.c if column.identity is not None]
    return keys


def _rows(table: Table) -> st.SearchStrategy[list[dict[str, Any]]]:
    row = st.fixed_dictionaries({column.name: _value(column) for column in table.c})
    keys = [lambda row, key=key: tuple(row[name] for name in key) for key in _unique(table)]
    return st.lists(row, max_size=3, unique_by=tuple(keys))


def _consistent(rows: dict[str, list[dict[str, Any]]]) -> Rows:
    """Vectors belong to existing items, and feedback to existing runs."""
    there = {(row["namespace"], row["key"]) for row in rows[items.name]}
    rows[item_vectors.name] = [row for row in rows[item_vectors.name] if (row["namespace"], row["key"]) in there]
    threads = {row["run_id"]: row["thread_id"] for row in rows[runs.name]}
    found = [row for row in rows[feedback.name] if row["run_id"] in threads]
    rows[feedback.name] = [{**row, "thread_id": threads[row["run_id"]]} for row in found]
    return rows


any_rows: Final = st.fixed_dictionaries({table.name: _rows(table) for table in moved_tables()}).map(_consistent)


def put(connection: Connection, rows: Rows) -> None:
    """Insert them like the stores would, directly with SQLAlchemy."""
    for table in moved_tables():
        if rows.get(table.name):
            connection.execute(insert(table), list(rows[table.name]))
