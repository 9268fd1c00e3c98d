"""The version of the checkpoint file; its tables are in `runstead.infra.storage.checkpoint_tables`."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, insert

from runstead.infra.storage.checkpoint_tables import metadata, syncs
from runstead.resources.storage_errors import SchemaTooNew

VERSION: Final = 1


def set_up(connection: Connection) -> None:
    """Create the tables of a new file, in the caller's transaction.

    Raises SchemaTooNew for a file of a later version.
    """
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version > VERSION:
        raise SchemaTooNew(str(version))
    if version == VERSION:
        return
    metadata.create_all(connection)
    syncs.create(connection)
    connection.execute(insert(syncs).values(number=0))
    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
