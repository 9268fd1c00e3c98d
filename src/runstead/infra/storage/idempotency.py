"""Idempotent creation of runs: map a caller's key to the run that it has created."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, select

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.exceptions import IdempotencyMismatch, InvalidRunSpec, RunNotFound
from runstead.runtime.runs.types import Idempotency, RunId, RunRecord

from .access_predicates import is_storable
from .prepared import Prepared, PreparedInsert
from .run_rows import RECORD, to_record
from .schema import idempotency_keys, runs

_COLUMNS: Final = ("tenant_id", "user_id", "key", "fingerprint", "run_id", "created_at")
_KEEP: Final = PreparedInsert(idempotency_keys, _COLUMNS, idempotency_keys.c.run_id)
_KEPT: Final = Prepared(
    select(idempotency_keys.c.fingerprint, idempotency_keys.c.run_id).where(
        idempotency_keys.c.tenant_id == bindparam("tenant_id"),
        idempotency_keys.c.user_id == bindparam("user_id"),
        idempotency_keys.c.key == bindparam("key"),
    )
)
_RUN: Final = Prepared(select(*RECORD).where(runs.c.run_id == bindparam("run_id")))


def repeated(
    connection: Connection, idempotency: Idempotency, run_id: RunId, actor: ActorContext, now: datetime
) -> RunRecord | None:
    """Return the run that this key has created; None if the key is new, and from now on refers to ``run_id``.

    The key is written before the run, so that on any engine a second request waits for the first one to commit. Raises
    IdempotencyMismatch, RunNotFound.
    """
    if not is_storable(idempotency.key):
        raise InvalidRunSpec(f"{idempotency.key!a} cannot be used as an idempotency key")
    row = {
        "tenant_id": actor.tenant_id,
        "user_id": actor.user_id,
        "key": idempotency.key,
        "fingerprint": idempotency.fingerprint,
        "run_id": run_id,
        "created_at": now,
    }
    if _KEEP.first(connection, row) is not None:
        return None
    kept = _KEPT.first(connection, row)
    assert kept is not None, "a key that is taken is there"
    fingerprint, made = kept
    if fingerprint != idempotency.fingerprint:
        raise IdempotencyMismatch(made)
    found = _RUN.first(connection, {"run_id": made})
    if found is None:
        raise RunNotFound(made)
    return to_record(found)
