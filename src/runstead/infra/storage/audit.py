"""The audit log in SQL: one chain for all processes that share a database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, insert, literal, select

from runstead.resources.audit import (
    FIRST_DIGEST,
    AuditEntry,
    AuditFilter,
    AuditRecord,
    ChainCheck,
    digest_of,
)
from runstead.runtime.json_types import JsonObject

from . import json_text
from .access_predicates import is_storable
from .database import Database
from .schema import audit_log

_COLUMNS: Final = (
    audit_log.c.seq,
    audit_log.c.at,
    audit_log.c.tenant_id,
    audit_log.c.user_id,
    audit_log.c.subject_id,
    audit_log.c.auth_source,
    audit_log.c.role,
    audit_log.c.client,
    audit_log.c.action,
    audit_log.c.route,
    audit_log.c.status,
    audit_log.c.target,
    audit_log.c.details,
    audit_log.c.previous,
    audit_log.c.digest,
)
_LOCK: Final = "runstead audit log"
_CHECKED_AT_ONCE: Final = 1_000


class SqlAuditLog:
    """AuditStore over a Database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        if entries:
            await self._database.write(lambda connection: _append(connection, entries))

    async def search(self, where: AuditFilter, *, limit: int) -> Sequence[AuditRecord]:
        if any(one is not None and not is_storable(one) for one in (where.tenant_id, where.user_id, where.target_id)):
            return []
        statement = select(*_COLUMNS).where(*_matching(where)).order_by(audit_log.c.seq.desc()).limit(limit)
        return await self._database.read(lambda connection: [_to_record(row) for row in connection.execute(statement)])

    async def verify(self) -> ChainCheck:
        seq, digest = 0, FIRST_DIGEST
        while True:
            page = select(*_COLUMNS).where(audit_log.c.seq > seq).order_by(audit_log.c.seq).limit(_CHECKED_AT_ONCE)

            def work(connection: Connection, statement: Any = page) -> list[AuditRecord]:
                return [_to_record(row) for row in connection.execute(statement)]

            found = await self._database.read(work, slow=True)
            for record in found:
                expected = digest_of(record.seq, record.previous, record.entry)
                if record.seq != seq + 1 or record.previous != digest or record.digest != expected:
                    return ChainCheck(seq, seq + 1, digest)
                seq, digest = record.seq, record.digest
            if len(found) < _CHECKED_AT_ONCE:
                return ChainCheck(seq, last_digest=digest)


def _append(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    if connection.dialect.name == "postgresql":
        # One writer at a time, of all processes: an entry names the one before it. SQLite has one writer anyway.
        lock = select(func.pg_advisory_xact_lock(func.hashtextextended(literal(_LOCK), 0)))
        connection.execute(lock).close()
    newest = select(audit_log.c.seq, audit_log.c.digest).order_by(audit_log.c.seq.desc()).limit(1)
    row = connection.execute(newest).first()
    seq, previous = (row[0], row[1]) if row else (0, FIRST_DIGEST)
    rows = []
    for entry in entries:
        seq += 1
        digest = digest_of(seq, previous, entry)
        rows.append(_to_row(seq, entry, previous, digest))
        previous = digest
    connection.execute(insert(audit_log), rows).close()


def _matching(where: AuditFilter) -> list[ColumnElement[bool]]:
    found = [
        column == wanted
        for column, wanted in (
            (audit_log.c.tenant_id, where.tenant_id),
            (audit_log.c.user_id, where.user_id),
            (audit_log.c.action, where.action),
        )
        if wanted is not None
    ]
    if where.target_id is not None:
        # Ids are whole JSON strings.
        found.append(audit_log.c.target.contains(json_text.dump(where.target_id), autoescape=True))
    if where.since is not None:
        found.append(audit_log.c.at >= where.since)
    if where.until is not None:
        found.append(audit_log.c.at < where.until)
    if where.before_seq is not None:
        found.append(audit_log.c.seq < where.before_seq)
    return found


def _to_row(seq: int, entry: AuditEntry, previous: str, digest: str) -> JsonObject:
    return {
        "seq": seq,
        "at": entry.at,
        "tenant_id": entry.tenant_id,
        "user_id": entry.user_id,
        "subject_id": entry.subject_id,
        "auth_source": entry.auth_source,
        "role": entry.role,
        "client": entry.client,
        "action": entry.action,
        "route": entry.route,
        "status": entry.status,
        "target": json_text.dump(entry.target),
        "details": json_text.dump(entry.details),
        "previous": previous,
        "digest": digest,
    }


def _to_record(row: Any) -> AuditRecord:
    entry = AuditEntry(
        at=row.at,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        subject_id=row.subject_id,
        auth_source=row.auth_source,
        role=row.role,
        client=row.client,
        action=row.action,
        route=row.route,
        status=row.status,
        target=json_text.load(row.target),
        details=json_text.load(row.details),
    )
    return AuditRecord(row.seq, entry, row.previous, row.digest)
