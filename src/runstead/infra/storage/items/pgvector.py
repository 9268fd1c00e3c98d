"""Items on PostgreSQL: pgvector compares the vectors if it is available; otherwise they are compared in Python.

There is no approximate index: every search is limited to one actor's items, and an approximate search may find nothing
there if other actors' items are closer. Exact results are also the same with and without pgvector.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from langgraph.store.base import SearchOp, TTLConfig
from sqlalchemy import Connection, Float, Row, bindparam, column, func, literal_column, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import UserDefinedType

from runstead.infra.engines.postgres import PostgresDatabase
from runstead.resources.item_filters import matches_filter
from runstead.resources.storage_errors import StorageError
from runstead.runtime.clock import Clock

from ..schema import item_vectors, items
from .index import ItemIndex
from .queries import BATCH, Place
from .ranking import Scores
from .store import SqlItemStore
from .vectors import ItemVectors, VectorsComparedHere, compared, in_reach, rows_of, vectors_of, with_items

_log = logging.getLogger(__name__)

_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('runstead vectors ' || current_schema(), 0))")
_HAS_TYPE: Final = text("SELECT to_regtype('vector') IS NOT NULL")
_CAN_HAVE: Final = text("SELECT EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'vector')")
_HAS_COLUMN: Final = text(
    "SELECT EXISTS (SELECT 1 FROM information_schema.columns WHERE table_schema = current_schema()"
    " AND table_name = 'item_vectors' AND column_name = 'meaning')"
)


class _Vector(UserDefinedType[str]):
    """pgvector's type, in its text form."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "vector"


# In addition to the column that every engine has; see `prepared_for_vectors`.
_MEANING: Final = literal_column("item_vectors.meaning", _Vector())


class VectorsComparedByPostgres:
    """ItemVectors by pgvector, in the column of `prepared_for_vectors`; rows without it are compared in Python."""

    def keep(self, connection: Connection, place: Place, embedder: str, vectors: Sequence[bytes]) -> None:
        rows = rows_of(place, embedder, vectors)
        statement = text(
            "INSERT INTO item_vectors (namespace, key, number, embedder, vector, meaning)"
            " VALUES (:namespace, :key, :number, :embedder, :vector, CAST(:meaning AS vector))"
        )
        connection.execute(statement, [{**row, "meaning": _said(row["vector"])} for row in rows])

    def closest(
        self, connection: Connection, *, query: bytes, embedder: str, op: SearchOp, now: datetime
    ) -> Scores[Place]:
        left = vectors_of(embedder, op, now).where(_MEANING.is_(None))
        scores = compared(connection, query, left, op)
        # The best vector of an item counts. Their length is one, so the inner product is the cosine.
        score = func.max(-_MEANING.op("<#>", return_type=Float())(bindparam("query", _said(query), _Vector())))
        nearest = (
            select(items.c.namespace, items.c.key, *([items.c.value] if op.filter else []), score.label("score"))
            .select_from(with_items())
            .where(in_reach(embedder, op, now), _MEANING.is_not(None))
            .group_by(items.c.namespace, items.c.key)
            .order_by(column("score").desc(), items.c.namespace, items.c.key)
        )
        wanted = op.offset + op.limit
        if not op.filter:
            nearest = nearest.limit(wanted)
        with connection.execution_options(yield_per=BATCH).execute(nearest) as rows:
            scores.update(_first(rows, op, wanted))
        return scores


def _first(rows: Any, op: SearchOp, wanted: int) -> Scores[Place]:
    """Return the first ``wanted`` rows that pass the filter; rows come in the order of their score."""
    found: Scores[Place] = {}
    row: Row[Any]
    for row in rows:
        if len(found) == wanted:
            break
        if not op.filter or matches_filter(orjson.loads(row.value), op.filter):
            found[row.namespace, row.key] = row.score
    return found


def _said(vector: bytes) -> str:
    return f"[{','.join(map(repr, array('f', vector)))}]"


async def open_postgres_items(
    database: PostgresDatabase, clock: Clock, *, index: ItemIndex | None = None, ttl: TTLConfig | None = None
) -> SqlItemStore:
    """Return the item store over a database that `open_postgres_storage` opened. Raises StorageError."""
    vectors = None if index is None else await vectors_in(database)
    return SqlItemStore(database, clock, index=index, ttl=ttl, vectors=vectors)


async def vectors_in(database: PostgresDatabase) -> ItemVectors:
    """Return ItemVectors by pgvector if that is possible, and in Python otherwise."""
    return VectorsComparedByPostgres() if await prepared_for_vectors(database) else VectorsComparedHere()


async def prepared_for_vectors(database: PostgresDatabase) -> bool:
    """Install pgvector and add its column if possible; return whether pgvector compares vectors here."""
    if not await database.read(lambda connection: bool(connection.execute(_HAS_TYPE).scalar())):
        if not await database.read(lambda connection: bool(connection.execute(_CAN_HAVE).scalar())):
            return False
        try:
            await database.write(_install)
        except (StorageError, DBAPIError) as error:
            _log.warning(
                "vectors of items are compared here, which is slower: pgvector is available, but could not be "
                "installed (%s); run CREATE EXTENSION vector in this database as its owner",
                " ".join(str(error).split())[:200],
            )
            return False
    await database.write(_add_column)
    while await database.write(_say_again):
        pass
    return True


def _install(connection: Connection) -> None:
    connection.execute(_LOCK)
    # In public: other schemas may use it too, and it must stay if our schema is dropped.
    connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public")


def _add_column(connection: Connection) -> None:
    if not connection.execute(_HAS_COLUMN).scalar():
        connection.execute(_LOCK)
        connection.exec_driver_sql("ALTER TABLE item_vectors ADD COLUMN IF NOT EXISTS meaning vector")


def _say_again(connection: Connection) -> int:
    """Fill pgvector's column for some vectors that lack it; return their number."""
    key = (item_vectors.c.namespace, item_vectors.c.key, item_vectors.c.number)
    left = select(*key, item_vectors.c.vector).where(_MEANING.is_(None)).limit(BATCH).with_for_update(skip_locked=True)
    rows = connection.execute(left).all()
    if rows:
        saying = text(
            "UPDATE item_vectors SET meaning = CAST(:meaning AS vector)"
            " WHERE namespace = :namespace AND key = :key AND number = :number"
        )
        connection.execute(
            saying,
            [
                {"namespace": namespace, "key": name, "number": number, "meaning": _said(vector)}
                for namespace, name, number, vector in rows
            ],
        )
    return len(rows)
