"""The audit log on either database: one chain for several writers, whose entries cannot be changed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import DBAPIError

from runstead.infra.storage.audit import SqlAuditLog
from runstead.infra.storage.database import Database
from runstead.infra.storage.schema import audit_log
from runstead.resources.audit import AuditEntry, AuditFilter


def entry(number: int) -> AuditEntry:
    return AuditEntry(
        at=datetime.now(UTC),
        tenant_id="acme",
        user_id=f"user-{number % 3}",
        action="threads.delete",
        route="DELETE /threads/{thread_id}",
        status=204,
        target={"thread_id": f"t-{number}"},
        details={"odd": "\0 \ud800 ünïcode", "number": number},
    )


async def test_concurrent_writers_make_one_chain(database: Database) -> None:
    logs = [SqlAuditLog(database) for _ in range(3)]
    batches = [[entry(10 * number + place) for place in range(3)] for number in range(12)]
    await asyncio.gather(*(logs[number % 3].append(batch) for number, batch in enumerate(batches)))
    check = await logs[0].verify()
    assert (check.entries, check.broken_at) == (36, None)
    (found,) = await logs[0].search(AuditFilter("acme", target_id="t-11"), limit=10)
    assert found.entry.to_json() == {**entry(11).to_json(), "at": found.entry.to_json()["at"]}
    assert await logs[0].search(AuditFilter("umbrella"), limit=10) == []
    page = await logs[0].search(AuditFilter(before_seq=3), limit=10)
    assert [record.seq for record in page] == [2, 1]
    assert page[0].previous == page[1].digest


async def test_entries_cannot_be_changed_or_deleted(database: Database) -> None:
    log = SqlAuditLog(database)
    await log.append([entry(1)])
    with pytest.raises(DBAPIError, match="append-only"):
        await database.write(lambda connection: connection.execute(update(audit_log).values(user_id="bob")).close())
    with pytest.raises(DBAPIError, match="append-only"):
        await database.write(lambda connection: connection.execute(delete(audit_log)).close())
    assert (await log.verify()).entries == 1
