"""The revisions of the schema: create a new database at the latest one, and migrate an older one to it.

A new database gets the tables of `..schema` as they are. A script in ``versions`` is only for databases that an earlier
release has created; the first release has none but the baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert, select, text

from runstead.resources.storage_errors import SchemaTooNew

from ..schema import metadata


@dataclass(frozen=True, slots=True)
class Revisions:
    """The latest revision, and the folders with the scripts that lead to it.

    ``head`` is stored so that opening a current or new database need not import alembic (a quarter of a second).
    """

    head: str
    folders: tuple[Path, ...]


HEAD: Final = "0001"
"""The latest revision of this version."""

REVISIONS: Final = Revisions(HEAD, (Path(__file__).parent / "versions",))


def migrate(connection: Connection, revisions: Revisions = REVISIONS) -> None:
    """Create the schema, or migrate it to the latest revision, in the caller's transaction.

    Does nothing if it is current. Raises SchemaTooNew for a database that a later version has written.
    """
    # The statement also makes SQLAlchemy notice the open transaction, so that alembic leaves it to us.
    before = revision_of(connection)
    if before is None:
        _create(connection, revisions.head)
    elif before != revisions.head:
        _upgrade(connection, before, revisions)


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the schema; None if there is none."""
    schema = _schema(connection)
    if not connection.dialect.has_table(connection, "alembic_version", schema=schema):
        return None
    revision: str | None = connection.execute(select(_version_table(schema).c["version_num"])).scalar()
    return revision


def _create(connection: Connection, head: str) -> None:
    # Without a check for existing tables: those of another application may be visible, and are not ours.
    metadata.create_all(connection, checkfirst=False)
    if connection.dialect.name == "postgresql":
        from ..postgres_schema import create_postgres_parts

        create_postgres_parts(connection)
    versions = _version_table(_schema(connection))
    versions.create(connection, checkfirst=False)
    connection.execute(insert(versions).values(version_num=head))


def _upgrade(connection: Connection, before: str, revisions: Revisions) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(
        str(Path(__file__).parent), version_locations=[str(folder) for folder in revisions.folders]
    )
    if before not in {revision.revision for revision in script.walk_revisions()}:
        raise SchemaTooNew(before)
    with EnvironmentContext(
        Config(), script, fn=lambda revision, _context: script._upgrade_revs("head", revision)
    ) as environment:
        environment.configure(connection=connection, version_table_schema=_schema(connection))
        environment.run_migrations()


def _version_table(schema: str | None) -> Table:
    """Return alembic's own table, as alembic defines it."""
    key = PrimaryKeyConstraint("version_num", name="alembic_version_pkc")
    return Table("alembic_version", MetaData(), Column("version_num", String(32), nullable=False), key, schema=schema)


def _schema(connection: Connection) -> str | None:
    """Return the schema for new tables, if the engine has schemas: another application's version table is not ours."""
    if connection.dialect.name != "postgresql":
        return None
    schema: str | None = connection.execute(text("SELECT current_schema()")).scalar()
    return schema
