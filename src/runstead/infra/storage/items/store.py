"""Items in SQL: langgraph's store over a Database, with expiry, and search by meaning or by words.

The namespace of a row already includes its owner; `runstead.resources.items` adds it. Filters and rankings are defined
in `runstead.resources.item_filters` and `item_ranking`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any, Final, Protocol

import orjson
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)
from sqlalchemy import Connection, and_, delete, select, tuple_, update

from runstead.resources.item_filters import check_filter
from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.page_budget import page_budget
from runstead.runtime.runs.types import Holder

from ..database import Database
from ..dialect import put_row
from ..run_predicates import lock_attempt
from ..schema import item_vectors, items
from .index import ItemIndex, texts_at
from .queries import ITEM, Place, alive, at, by_words, check_labels, found, labels_of, namespaces, ranked, text_of
from .vectors import ItemVectors, VectorsComparedHere

BATCH: Final = 500
"""Rows per transaction of a sweep, few enough not to delay other writes."""


class ItemValues(Protocol):
    """Converts values of items to their stored form and back, outside of transactions."""

    async def stored(self, values: Sequence[JsonObject]) -> list[JsonObject]: ...

    async def read(self, places: Sequence[Place], values: Sequence[JsonObject]) -> list[JsonObject]: ...


class SqlItemStore(BaseStore):
    """BaseStore over a Database. ``index`` enables search by meaning; without it, a query matches words.

    ``values`` encrypts: filters and words are then compared with the stored form. An expired item is invisible even
    before `sweep` deletes it. May be used from any event loop. In one batch, reads see the state before its writes.
    Raises InvalidFilter, EmbeddingFailed.
    """

    supports_ttl = True

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        index: ItemIndex | None = None,
        ttl: TTLConfig | None = None,
        vectors: ItemVectors | None = None,
        values: ItemValues | None = None,
    ) -> None:
        self._database, self._clock, self._index, self._values = database, clock, index, values
        self._vectors_there = vectors or VectorsComparedHere()
        self.ttl_config = ttl
        self._check: Callable[[], object] | None = None
        self._holder: Holder | None = None

    def fenced(self, check: Callable[[], object], holder: Holder) -> SqlItemStore:
        """Return the same store with a fence for one attempt; see FenceableStore."""
        fenced = SqlItemStore(
            self._database,
            self._clock,
            index=self._index,
            ttl=self.ttl_config,
            vectors=self._vectors_there,
            values=self._values,
        )
        fenced._check, fenced._holder = check, holder
        return fenced

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        asked = list(ops)
        for op in asked:
            check_labels(op)
        results = [await self._read(op) for op in asked]
        # Of several writes to the same key, the last one counts.
        await self._put({(text_of(op.namespace), op.key): op for op in asked if isinstance(op, PutOp)})
        return results

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run a batch in a thread without an event loop."""
        return asyncio.run(self.abatch(ops))

    async def sweep(self) -> int:
        """Delete expired items; return their number."""
        now, swept = self._clock.now(), 0
        while deleted := await self._database.write(lambda connection: _sweep(connection, now)):
            swept += deleted
        return swept

    async def _read(self, op: Op) -> Result:
        if isinstance(op, GetOp):
            return await self._get(op)
        if isinstance(op, SearchOp):
            return await self._search(op)
        if isinstance(op, ListNamespacesOp):
            now = self._clock.now()
            return await self._database.read(lambda connection: namespaces(connection, op, now))
        return None

    async def _get(self, op: GetOp) -> Item | None:
        place, now = (text_of(op.namespace), op.key), self._clock.now()
        statement = select(*ITEM).where(at(items, place), alive(now))
        row = await self._database.read(lambda connection: connection.execute(statement).first(), quick=True)
        if row is None:
            return None
        await self._refresh([row], op.refresh_ttl)
        [value] = await self._read_values([row])
        item: Item = _to_item(row, value, Item)
        return item

    async def _search(self, op: SearchOp) -> list[SearchItem]:
        check_filter(op.filter)
        now, budget = self._clock.now(), page_budget()
        if not op.query or not op.query.strip():
            rows = await self._database.read(
                lambda connection: found(connection, op, now, budget), slow=bool(op.filter)
            )
            scored: Sequence[tuple[object, float | None]] = [(row, None) for row in rows]
        elif self._index is not None:
            query = await self._index.of_query(op.query)
            meant = partial(self._vectors_there.closest, query=query, embedder=self._index.embedder, op=op, now=now)
            scored = await self._database.read(
                lambda connection: ranked(connection, meant(connection), op, budget), slow=True
            )
        else:
            said = partial(by_words, op=op, now=now)
            scored = await self._database.read(
                lambda connection: ranked(connection, said(connection), op, budget), slow=True
            )
        await self._refresh([row for row, _ in scored], op.refresh_ttl)
        values = await self._read_values([row for row, _ in scored])
        return [
            _to_item(row, value, SearchItem, score=score) for (row, score), value in zip(scored, values, strict=True)
        ]

    async def _read_values(self, rows: Sequence[Any]) -> list[JsonObject]:
        values = [orjson.loads(row.value) for row in rows]
        if self._values is None:
            return values
        return await self._values.read([(row.namespace, row.key) for row in rows], values)

    async def _refresh(self, rows: Sequence[Any], asked: bool) -> None:
        """Restart the lifetime of the items that were read."""
        mortal = [row for row in rows if row.ttl_minutes is not None] if asked else []
        if not mortal:
            return
        now = self._clock.now()

        def work(connection: Connection) -> None:
            # In the order in which they are written: two searches may find the same items in different orders.
            for row in sorted(mortal, key=attrgetter("namespace", "key")):
                # Unless another write has changed its lifetime meanwhile.
                same = and_(at(items, (row.namespace, row.key)), items.c.ttl_minutes == row.ttl_minutes, alive(now))
                expires = now + timedelta(minutes=row.ttl_minutes)
                connection.execute(update(items).where(same).values(expires_at=expires))

        await self._database.write(work, durable=False)

    async def _put(self, puts: Mapping[Place, PutOp]) -> None:
        if not puts:
            return
        # In the form in which it will be read: values that orjson converts to text are text from here on.
        values = {place: _plain(op.value) for place, op in puts.items() if op.value is not None}
        vectors = await self._vectors({place: (values[place], puts[place].index) for place in values})
        if self._values is not None:
            # After the vectors, which are made from the plain values.
            values = dict(zip(values, await self._values.stored(list(values.values())), strict=True))
        now, name = self._clock.now(), self._index.embedder if self._index else ""

        def work(connection: Connection) -> None:
            if self._holder is not None:
                lock_attempt(connection, self._holder)
            if self._check is not None:
                self._check()
            # In order: two batches that lock the same rows in different orders would deadlock.
            for place, op in sorted(puts.items(), key=itemgetter(0)):
                gone = at(items, place) if op.value is None else and_(at(items, place), ~alive(now))
                connection.execute(delete(items).where(gone))
                if op.value is not None:
                    put_row(connection, items, _to_row(place, op, values[place], now), kept=("created_at",))
                    connection.execute(delete(item_vectors).where(at(item_vectors, place)))
                if own := vectors.get(place):
                    self._vectors_there.keep(connection, place, name, own)

        await self._database.write(work)

    async def _vectors(self, values: Mapping[Place, tuple[JsonObject, Any]]) -> dict[Place, list[bytes]]:
        if self._index is None:
            return {}
        fields = self._index.fields
        texts = {
            place: texts_at(value, fields if index is None else index or ()) for place, (value, index) in values.items()
        }
        made = await self._index.of_texts([text for own in texts.values() for text in own])
        return {place: [made[text] for text in dict.fromkeys(own)] for place, own in texts.items()}


def _plain(value: JsonMapping) -> JsonObject:
    """Return the value in the form in which it will be read: values that orjson converts to text become text."""
    plain: JsonObject = orjson.loads(orjson.dumps(dict(value)))
    return plain


def _to_row(place: Place, op: PutOp, value: JsonMapping, now: datetime) -> JsonObject:
    return {
        "namespace": place[0],
        "key": place[1],
        "created_at": now,
        "updated_at": now,
        "ttl_minutes": op.ttl,
        "expires_at": None if op.ttl is None else now + timedelta(minutes=op.ttl),
        "searched": None if op.index is None else orjson.dumps(op.index or []).decode(),
        "value": orjson.dumps(value).decode(),
    }


def _to_item(row: Any, value: JsonObject, kind: Any, **more: Any) -> Any:
    return kind(
        namespace=labels_of(row.namespace),
        key=row.key,
        value=value,
        created_at=row.created_at,
        updated_at=row.updated_at,
        **more,
    )


def _sweep(connection: Connection, now: datetime) -> int:
    expired = select(items.c.namespace, items.c.key).where(items.c.expires_at <= now).limit(BATCH)
    places = [(namespace, key) for namespace, key in connection.execute(expired)]
    if places:
        # Checked again, since an item may have been read meanwhile, which restarts its lifetime.
        over = and_(tuple_(items.c.namespace, items.c.key).in_(places), items.c.expires_at <= now)
        # In the order in which items are written and read.
        in_order = select(items.c.key).where(over).order_by(items.c.namespace, items.c.key).with_for_update()
        connection.execute(in_order).close()
        connection.execute(delete(items).where(over))
    return len(places)
