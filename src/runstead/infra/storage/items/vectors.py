"""Storage of item vectors, and search for those closest to a query.

Here they are compared one by one, in Python. `runstead.infra.storage.items.pgvector` lets the server compare them,
with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import orjson
from langgraph.store.base import SearchOp
from sqlalchemy import ColumnElement, Connection, Join, Select, and_, insert, select

from runstead.resources.item_filters import matches_filter
from runstead.runtime.json_types import JsonObject

from ..schema import item_vectors, items
from .queries import BATCH, Place, alive, below
from .ranking import Scores, closeness


class ItemVectors(Protocol):
    """Vectors are in the form of `item_ranking.packed`; only vectors of the query's embedder are comparable to it."""

    def keep(self, connection: Connection, place: Place, embedder: str, vectors: Sequence[bytes]) -> None:
        """Store the vectors of an item that has none (any more)."""
        ...

    def closest(
        self, connection: Connection, *, query: bytes, embedder: str, op: SearchOp, now: datetime
    ) -> Scores[Place]:
        """Return the similarity of items to ``query``, at least up to the end of the page that ``op`` asks for.

        Items without vectors of this embedder are not found by meaning.
        """
        ...


class VectorsComparedHere:
    """ItemVectors on any engine: all vectors of the namespace are read and compared in Python."""

    def keep(self, connection: Connection, place: Place, embedder: str, vectors: Sequence[bytes]) -> None:
        connection.execute(insert(item_vectors), rows_of(place, embedder, vectors))

    def closest(
        self, connection: Connection, *, query: bytes, embedder: str, op: SearchOp, now: datetime
    ) -> Scores[Place]:
        return compared(connection, query, vectors_of(embedder, op, now), op)


def rows_of(place: Place, embedder: str, vectors: Sequence[bytes]) -> list[JsonObject]:
    return [
        {"namespace": place[0], "key": place[1], "number": number, "embedder": embedder, "vector": vector}
        for number, vector in enumerate(vectors)
    ]


def with_items() -> Join:
    """Return the join of vectors and their items."""
    same = and_(item_vectors.c.namespace == items.c.namespace, item_vectors.c.key == items.c.key)
    return items.join(item_vectors, same)


def in_reach(embedder: str, op: SearchOp, now: datetime) -> ColumnElement[bool]:
    """Return the condition for vectors of this embedder whose items are within the search ``op``."""
    return and_(below(op.namespace_prefix), alive(now), item_vectors.c.embedder == embedder)


def vectors_of(embedder: str, op: SearchOp, now: datetime) -> Select[object]:
    values = [items.c.value] if op.filter else []
    columns = (items.c.namespace, items.c.key, item_vectors.c.vector, *values)
    return select(*columns).select_from(with_items()).where(in_reach(embedder, op, now))


def compared(connection: Connection, query: bytes, statement: Select[Any], op: SearchOp) -> Scores[Place]:
    """Return the similarity of each vector in the result of ``statement``, without items that the filter excludes."""
    with connection.execution_options(yield_per=BATCH).execute(statement) as rows:
        return closeness(
            query,
            (
                ((row.namespace, row.key), row.vector)
                for row in rows
                if not op.filter or matches_filter(orjson.loads(row.value), op.filter)
            ),
        )
