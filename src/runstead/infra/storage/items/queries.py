"""Searches for items in SQL: by key, by namespace prefix, by filter, by meaning and by words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice, tee
from typing import Any, Final, TypeAlias

import orjson
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchOp,
)
from sqlalchemy import ColumnElement, Connection, Integer, Table, and_, func, or_, select, tuple_

from runstead.resources.item_filters import matches_filter
from runstead.runtime.page_budget import PageBudget

from ..page_rows import rows_of_page
from ..schema import items
from .index import WHOLE, words_at
from .ranking import Scores, best_of, relevance

BATCH: Final = 500
"""Number of rows read at once."""

Place: TypeAlias = tuple[str, str]
"""Namespace and key of a row."""
ITEM: Final = (
    items.c.namespace,
    items.c.key,
    items.c.value,
    items.c.created_at,
    items.c.updated_at,
    items.c.ttl_minutes,
)
_NEWEST_FIRST: Final = (items.c.updated_at.desc(), items.c.namespace, items.c.key)


def text_of(namespace: Sequence[str]) -> str:
    return ".".join(namespace)


def check_labels(op: Op) -> None:
    """Raise InvalidNamespaceError if an operation has a label that cannot be stored: a namespace is text with periods.

    langgraph-checkpoint checks labels in the methods of its stores, which a batch does not go through; it has a
    function for batches from 4.3 on.
    """
    match op:
        case GetOp() | PutOp():
            paths = [op.namespace]
        case SearchOp():
            paths = [op.namespace_prefix]
        case _:
            paths = [condition.path for condition in op.match_conditions or ()]
    for path in paths:
        for label in path:
            if not isinstance(label, str) or not label or "." in label or "\x00" in label:
                raise InvalidNamespaceError(
                    f"Invalid namespace label {label!r} found in {path}: labels are strings that are not empty and"
                    " contain neither periods nor NUL bytes."
                )


def labels_of(namespace: str) -> tuple[str, ...]:
    return tuple(namespace.split(".")) if namespace else ()


def at(table: Table, place: Place) -> ColumnElement[bool]:
    return and_(table.c.namespace == place[0], table.c.key == place[1])


def alive(now: datetime) -> ColumnElement[bool]:
    return or_(items.c.expires_at.is_(None), items.c.expires_at > now)


def below(prefix: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition for the namespace and those below it, which begin with it and a dot."""
    name = text_of(prefix)
    if not prefix:
        return items.c.namespace >= ""
    return or_(
        items.c.namespace == name,
        and_(items.c.namespace >= f"{name}.", items.c.namespace < f"{name}{chr(ord('.') + 1)}"),
    )


def found(connection: Connection, op: SearchOp, now: datetime, budget: PageBudget | None = None) -> list[Any]:
    statement = select(*ITEM).where(below(op.namespace_prefix), alive(now)).order_by(*_NEWEST_FIRST)
    if not op.filter:
        return list(rows_of_page(connection, statement.limit(op.limit).offset(op.offset), budget))
    with connection.execution_options(yield_per=BATCH).execute(statement) as rows:
        matching = (row for row in rows if matches_filter(orjson.loads(row.value), op.filter))
        page = islice(matching, op.offset, op.offset + op.limit)
        if budget is None:
            return list(page)
        kept, read = tee(page)
        return list(islice(kept, budget.fitting(len(row.value) for row in read)))


def by_words(connection: Connection, *, op: SearchOp, now: datetime) -> Scores[Place]:
    statement = select(items.c.namespace, items.c.key, items.c.searched, items.c.value)
    with connection.execution_options(yield_per=BATCH).execute(
        statement.where(below(op.namespace_prefix), alive(now))
    ) as rows:
        return relevance(op.query or "", _readable(rows, op))


def _readable(rows: Iterable[Any], op: SearchOp) -> Iterator[tuple[Place, str]]:
    for row in rows:
        paths = WHOLE if row.searched is None else orjson.loads(row.searched)
        value = orjson.loads(row.value)
        if paths and matches_filter(value, op.filter):
            yield (row.namespace, row.key), words_at(value, paths)


def ranked(
    connection: Connection, scores: Scores[Place], op: SearchOp, budget: PageBudget | None = None
) -> list[tuple[Any, float]]:
    best = best_of(scores, lambda place: place, op.offset, op.limit)
    if best and budget is not None:
        sizes = select(items.c.namespace, items.c.key, func.length(items.c.value, type_=Integer()))
        size_of = {(row[0], row[1]): row[2] for row in connection.execute(sizes.where(_in(best)))}
        best = best[: budget.fitting(size_of.get(place, 0) for place, _ in best)]
    if not best:
        return []
    wanted = _in(best)
    rows = {(row.namespace, row.key): row for row in connection.execute(select(*ITEM).where(wanted))}
    return [(rows[place], score) for place, score in best]


def _in(best: Sequence[tuple[Place, float]]) -> ColumnElement[bool]:
    return tuple_(items.c.namespace, items.c.key).in_([place for place, _ in best])


def namespaces(connection: Connection, op: ListNamespacesOp, now: datetime) -> list[tuple[str, ...]]:
    conditions = op.match_conditions or ()
    statement = select(items.c.namespace).distinct().where(below(_literal(conditions)), alive(now))
    found = (labels_of(name) for name in connection.execute(statement).scalars())
    kept = {labels[: op.max_depth] for labels in found if all(_matches(labels, one) for one in conditions)}
    return sorted(kept)[op.offset : op.offset + op.limit]


def _literal(conditions: Sequence[MatchCondition]) -> tuple[str, ...]:
    """Return the longest known prefix of all matches, up to its first wildcard."""
    prefixes = [tuple(one.path) for one in conditions if one.match_type == "prefix"]
    known = [path[: path.index("*")] if "*" in path else path for path in prefixes]
    return max(known, key=len, default=())


def _matches(labels: Sequence[str], condition: MatchCondition) -> bool:
    path, depth = condition.path, len(condition.path)
    if depth > len(labels):
        return False
    part = labels[:depth] if condition.match_type == "prefix" else labels[len(labels) - depth :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))
