"""Filters of auth handlers mean the same in the database as in memory."""

from __future__ import annotations

import itertools
from typing import Any, Final

from sqlalchemy import Column, MetaData, Table, insert, select

from runstead.infra.storage.column_types import Text
from runstead.infra.storage.database import Database
from runstead.infra.storage.dialect import metadata_matches
from runstead.infra.storage.json_text import dump, load
from runstead.wire.authorization import filter_of, matches

VALUES: Final[tuple[Any, ...]] = (
    "alice", "", "it's\u00e9\u0000 \\u0000", 0, 1, 1.5, True, False, None, [], ["alice"], ["bob", "alice"],
    [1, True], [None], {}, {"x": 1}, {"x": True}, {"x": [1, {"y": None}]}, {"alice": 1},
)  # fmt: skip
DOCUMENTS: Final = [
    {},
    *({"a": one} for one in VALUES),
    *({"a": one, "b": other} for one in VALUES[:9] for other in VALUES[:9]),
]
LEAVES: Final[list[dict[str, Any]]] = [
    *({"a": one} for one in VALUES if not isinstance(one, dict)),
    *({"a": {"$eq": one}} for one in VALUES),
    *({"a": {"$contains": one}} for one in VALUES if isinstance(one, str | int | float)),
    *({"a": {"$contains": one}} for one in ([], ["alice"], ["alice", "bob"], [1], [True, 1])),
    {"a": "alice", "b": 1},
    {"missing": None},
    {"it's \" \\ \u0000": 1},
]
FILTERS: Final = [
    *LEAVES,
    *({"$or": [one, other]} for one, other in itertools.pairwise(LEAVES)),
    *({"$and": [one, {"b": 1}]} for one in LEAVES),
    *({"$or": [{"$and": [one, {"b": True}]}, {"b": "alice"}], "a": {"$eq": None}} for one in LEAVES[::3]),
    *({"$or": [one, {"b": 0}], "$and": [{"b": {"$eq": 0}}, {"a": {"$eq": {"x": 1}}}]} for one in LEAVES[::3]),
]
_documents = Table("documents_of_a_test", MetaData(), Column("metadata", Text, nullable=False))


async def test_database_finds_what_matches(database: Database) -> None:
    stored = sorted({dump(document) for document in DOCUMENTS})

    def found(connection: Any) -> list[list[str]]:
        _documents.create(connection)
        try:
            connection.execute(insert(_documents), [{"metadata": text} for text in stored])
            return [
                sorted(
                    connection.execute(
                        select(_documents.c.metadata).where(metadata_matches(_documents.c.metadata, filter_of(filters)))
                    ).scalars()
                )
                for filters in FILTERS
            ]
        finally:
            _documents.drop(connection)

    for filters, texts in zip(FILTERS, await database.write(found), strict=True):
        assert texts == [text for text in stored if matches(load(text), filters)], filters
