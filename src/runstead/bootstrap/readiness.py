"""Readiness check: whether a server accepts new work, and otherwise the reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from sqlalchemy import Connection

from runstead.infra.storage.database import ObservedDatabase
from runstead.runtime.storage_fault import StorageFault

from .shutdown import Shutdown

_LEAVING: Final = "Not ready: the server is about to stop"
_SILENT: Final = "Not ready: the storage does not answer"


KeysProblem: TypeAlias = Callable[[], Awaitable[str | None]]


class Readiness:
    """Check of the databases, of their encryption keys, and of the server's shutdown.

    A failed write counts until another write succeeds. ``keys_problem`` returns which key of the data this process
    lacks: another server may have encrypted with a new one.
    """

    def __init__(
        self, databases: Sequence[ObservedDatabase], closing: Shutdown, keys_problem: KeysProblem | None = None
    ) -> None:
        self._databases, self._closing, self._keys_problem = databases, closing, keys_problem

    async def reason(self) -> str | None:
        """Return the reason why no new work is accepted; None if it is."""
        if self._closing.is_leaving:
            return _LEAVING
        try:
            for database in self._databases:
                if database.fault is not None:
                    # Without incoming work, no other write would detect that the fault has passed.
                    await database.write(_probe)
                await database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
            if self._keys_problem is not None and (problem := await self._keys_problem()) is not None:
                return f"Not ready: {problem}"
        except StorageFault as fault:
            return f"Not ready: {fault.public_message}"
        except Exception:
            return _SILENT
        return None


def _probe(connection: Connection) -> None:
    """Write data without keeping it."""
    if connection.dialect.name == "postgresql":
        # The right to create a table may be missing.
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
        return
    # About as much as a small run writes: less might fit into a log file that is overwritten.
    connection.exec_driver_sql("CREATE TABLE runstead_room (room TEXT)")
    connection.exec_driver_sql(f"INSERT INTO runstead_room VALUES ('{'x' * 65_536}')")
    connection.exec_driver_sql("DROP TABLE runstead_room")
