"""Progress of an import, stored in its target: each member is recorded in the transaction that writes it.

The table exists only while an import is unfinished.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from sqlalchemy import Column, Connection, MetaData, Table, func, select

from runstead.infra.storage.column_types import Text
from runstead.infra.storage.dialect import add_unless_there

from .exceptions import TransferError
from .manifest import Manifest, Member

_metadata: Final = MetaData()
import_progress: Final = Table(
    "import_progress",
    _metadata,
    Column("file", Text, primary_key=True),
    Column("member", Text, primary_key=True),
)
_BEGUN: Final = ""
"""Stands for the beginning, among the names of members."""


def is_begun(connection: Connection, manifest: Manifest, place: str) -> bool:
    """Return whether an import of this file is unfinished. Raises TransferError if one of another file is."""
    if not connection.dialect.has_table(connection, import_progress.name, schema=_schema(connection)):
        return False
    files = set(connection.execute(select(import_progress.c.file).distinct()).scalars())
    if files - {manifest.identity}:
        raise TransferError(
            f"an import of another file into {place} is not finished; import that file again, or empty it"
        )
    return bool(files)


def begin(connection: Connection, manifest: Manifest) -> None:
    _metadata.create_all(connection)
    if not is_noted(connection, manifest, _BEGUN):
        note(connection, manifest, _BEGUN)


def done(connection: Connection, manifest: Manifest) -> Set[str]:
    """Return the names of the members that are written."""
    of_file = select(import_progress.c.member).where(import_progress.c.file == manifest.identity)
    return set(connection.execute(of_file).scalars()) - {_BEGUN}


def is_noted(connection: Connection, manifest: Manifest, name: str) -> bool:
    same = (import_progress.c.file == manifest.identity) & (import_progress.c.member == name)
    return connection.execute(select(import_progress.c.member).where(same)).first() is not None


def note(connection: Connection, manifest: Manifest, member: Member | str) -> None:
    name = member if isinstance(member, str) else member.name
    # If another process imports the same file concurrently, it has written the same rows.
    add_unless_there(connection, import_progress, {"file": manifest.identity, "member": name})


def forget(connection: Connection) -> None:
    """Drop the progress table after a complete import."""
    _metadata.drop_all(connection)


def _schema(connection: Connection) -> str | None:
    if connection.dialect.name != "postgresql":
        return None
    schema: str | None = connection.execute(select(func.current_schema())).scalar()
    return schema
