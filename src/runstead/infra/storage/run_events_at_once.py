"""Events of an attempt in PostgreSQL, in one statement: the fence, the thread's counter, and the rows.

One statement is one round trip, and a transaction by itself. Its commit need not wait for the disk: the end of the run
is durable before it is reported, and makes earlier writes durable too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.exceptions import LeaseLost, ThreadNotFound
from runstead.runtime.runs.types import Holder, ThreadId

from .schema import run_events

_COLUMNS: Final = ("run_id", "event_type", "category", "created_at", "metadata", "content")
_REACHES: Final = "{0}.tenant_id = %(tenant)s AND ({0}.user_id = %(user)s OR CAST(%(shared)s AS boolean))"
_APPEND: Final = f"""
    WITH soon AS MATERIALIZED (
        SELECT set_config('synchronous_commit', 'off', true)
    ), held AS MATERIALIZED (
        SELECT runs.run_id FROM runs CROSS JOIN soon
        WHERE run_id = %(holder)s AND attempt = %(attempt)s AND lease_until IS NOT NULL
        FOR SHARE OF runs
    ), owner AS (
        SELECT coalesce(t.tenant_id, CAST(%(tenant)s AS text)) AS tenant_id,
            coalesce(t.user_id, CAST(%(user)s AS text)) AS user_id
        FROM held LEFT JOIN threads t ON t.thread_id = %(thread)s
    ), counter AS (
        INSERT INTO run_event_threads AS counted (thread_id, tenant_id, user_id, last_seq)
        SELECT CAST(%(thread)s AS text), tenant_id, user_id, CAST(%(count)s AS bigint) FROM owner
        WHERE ({_REACHES.format("owner")})
            OR EXISTS (SELECT 1 FROM run_event_threads WHERE thread_id = %(thread)s)
        ON CONFLICT (thread_id) DO UPDATE SET last_seq = counted.last_seq + excluded.last_seq
            WHERE {_REACHES.format("counted")}
        RETURNING last_seq
    ), added AS (
        INSERT INTO run_events (thread_id, seq, {", ".join(_COLUMNS)})
        SELECT CAST(%(thread)s AS text), c.last_seq - CAST(%(count)s AS bigint) + given.number,
            {", ".join(f"given.{name}" for name in _COLUMNS)}
        FROM counter c CROSS JOIN unnest(
            CAST(%(run_id)s AS text[]), CAST(%(event_type)s AS text[]), CAST(%(category)s AS text[]),
            CAST(%(created_at)s AS timestamptz[]), CAST(%(metadata)s AS text[]), CAST(%(content)s AS text[])
        ) WITH ORDINALITY AS given({", ".join(_COLUMNS)}, number)
    )
    SELECT (SELECT count(*) FROM held), (SELECT last_seq FROM counter)
"""


def append_at_once(
    connection: Connection, thread_id: ThreadId, actor: ActorContext, holder: Holder, rows: Sequence[JsonObject]
) -> int:
    """Store rows of events, and return the number of the one before them. Raises LeaseLost, ThreadNotFound."""
    values: JsonObject = {name: _stored(connection, name, rows) for name in _COLUMNS}
    values |= {
        "holder": holder.run_id,
        "attempt": holder.attempt,
        "thread": thread_id,
        "tenant": actor.tenant_id,
        "user": actor.user_id,
        "shared": thread_id in actor.access_scope.thread_ids,
        "count": len(rows),
    }
    cursor: Any = connection.connection.cursor()
    try:
        held, last = cursor.execute(_APPEND, values).fetchone()
    finally:
        cursor.close()
    if not held:
        raise LeaseLost(holder.run_id, holder.attempt)
    if last is None:
        raise ThreadNotFound(thread_id)
    return int(last) - len(rows)


def _stored(connection: Connection, name: str, rows: Sequence[JsonObject]) -> list[object]:
    """Return the values of a column in the form in which they are stored."""
    dialect = connection.dialect
    convert: Any = run_events.c[name].type.dialect_impl(dialect).bind_processor(dialect)
    return [row[name] if convert is None else convert(row[name]) for row in rows]
