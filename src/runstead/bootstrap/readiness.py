"""Tell whether a server can take new work, and if not, why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from runstead.infra.storage.database import ObservedDatabase
from runstead.runtime.storage_fault import StorageFault

from .closing import Closing

_LEAVING: Final = "Not ready: the server is about to stop"
_SILENT: Final = "Not ready: the storage does not answer"


class Readiness:
    """Looks at the databases and at the server's end. A write that failed counts until another one succeeds."""

    def __init__(self, databases: Sequence[ObservedDatabase], closing: Closing) -> None:
        self._databases, self._closing = databases, closing

    async def reason(self) -> str | None:
        """Return why new work cannot be taken; None when it can."""
        if self._closing.is_leaving:
            return _LEAVING
        try:
            for database in self._databases:
                if database.fault is not None:
                    # With no work coming, nothing else would find out that it has passed.
                    await database.write(_probe)
                await database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
        except StorageFault as fault:
            return f"Not ready: {fault.told}"
        except Exception:
            return _SILENT
        return None


def _probe(connection: Connection) -> None:
    """Write something, and keep nothing of it."""
    if connection.dialect.name == "postgresql":
        # Rights to make a table may be missing.
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
        return
    # About as much as a small run writes: less might find room in a log that is written over.
    connection.exec_driver_sql("CREATE TABLE runstead_room (room TEXT)")
    connection.exec_driver_sql(f"INSERT INTO runstead_room VALUES ('{'x' * 65_536}')")
    connection.exec_driver_sql("DROP TABLE runstead_room")
