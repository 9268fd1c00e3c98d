"""Passes of background sweeps: one process of a cluster at a time, each continuing where the last one stopped."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, update

from runstead.runtime.clock import Clock

from .database import Database
from .dialect import add_unless_there
from .schema import sweeps

RETENTION: Final = "retention"
"""Name of the sweep that applies the rules of retention."""
_TERM: Final = timedelta(seconds=120)
"""Time after which another process takes over a pass whose process was killed."""


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """State of a sweep: ``position`` and ``deleted`` of the pass that is under way, or of the latest one."""

    position: str | None
    began_at: datetime | None
    ended_at: datetime | None
    next_at: datetime
    deleted: Mapping[str, int]


_SHOWN: Final = (sweeps.c.position, sweeps.c.began_at, sweeps.c.ended_at, sweeps.c.next_at, sweeps.c.deleted)


class SqlSweep:
    """One kind of sweep in a database. Each instance is a holder of its own."""

    def __init__(self, database: Database, clock: Clock, name: str) -> None:
        self._database, self._clock, self._name = database, clock, name
        self._holder = uuid.uuid4().hex

    async def progress(self) -> SweepProgress | None:
        """Return the state; None if no pass has begun yet."""
        chosen = select(*_SHOWN).where(sweeps.c.name == self._name)
        row = await self._database.read(lambda connection: connection.execute(chosen).first(), quick=True)
        return None if row is None else _progress(row)

    async def claim(self) -> SweepProgress | None:
        """Claim the pass that is due or under way; return None if there is none, or another process makes it."""
        found = await self.progress()
        if found is not None and found.next_at > self._clock.now():
            return None
        return await self._database.write(self._claim, durable=False)

    def _claim(self, connection: Connection) -> SweepProgress | None:
        now = self._clock.now()
        add_unless_there(connection, sweeps, {"name": self._name, "next_at": now, "deleted": "{}"})
        is_free = or_(sweeps.c.lease_until.is_(None), sweeps.c.lease_until <= now)
        row = connection.execute(
            update(sweeps)
            .where(sweeps.c.name == self._name, sweeps.c.next_at <= now, is_free)
            .values(holder=self._holder, lease_until=now + _TERM)
            .returning(*_SHOWN)
        ).first()
        if row is None:
            return None
        if row.began_at is not None:
            return _progress(row)
        connection.execute(update(sweeps).where(self._is_mine()).values(began_at=now, position=None, deleted="{}"))
        return SweepProgress(None, now, row.ended_at, row.next_at, {})

    async def advance(self, position: str | None, deleted: Mapping[str, int]) -> bool:
        """Record how far the claimed pass has come, and keep the claim; return False if it was lost."""
        lease = self._clock.now() + _TERM
        return await self._change(position=position, deleted=json.dumps(deleted), lease_until=lease)

    async def release(self, position: str | None, deleted: Mapping[str, int]) -> bool:
        """Record how far the claimed pass has come, and let any process continue it."""
        return await self._change(position=position, deleted=json.dumps(deleted), holder=None, lease_until=None)

    async def finish(self, deleted: Mapping[str, int], every: timedelta) -> bool:
        """End the claimed pass. The next one is due ``every`` after its beginning, or now if that is over."""
        now = self._clock.now()

        def work(connection: Connection) -> bool:
            began = connection.execute(select(sweeps.c.began_at).where(self._is_mine())).scalar()
            return began is not None and self._update(
                connection,
                position=None,
                began_at=None,
                ended_at=now,
                next_at=max(began + every, now),
                deleted=json.dumps(deleted),
                holder=None,
                lease_until=None,
            )

        return await self._database.write(work, durable=False)

    def _is_mine(self) -> ColumnElement[bool]:
        return and_(sweeps.c.name == self._name, sweeps.c.holder == self._holder)

    async def _change(self, **values: object) -> bool:
        return await self._database.write(lambda connection: self._update(connection, **values), durable=False)

    def _update(self, connection: Connection, **values: object) -> bool:
        return connection.execute(update(sweeps).where(self._is_mine()).values(**values)).rowcount == 1


def _progress(row: Row[*tuple[Any, ...]]) -> SweepProgress:
    return SweepProgress(row.position, row.began_at, row.ended_at, row.next_at, json.loads(row.deleted))
