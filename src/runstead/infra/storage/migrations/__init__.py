"""The revisions of the schema, and the function that migrates a database to the latest one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, column, select, table, text

from runstead.resources.storage_errors import SchemaTooNew

HEAD: Final = "0016"
"""The latest revision. Kept here so that opening a current database need not import alembic (a quarter of a second)."""


def migrate(connection: Connection) -> None:
    """Migrate the schema to HEAD in the caller's transaction. Does nothing if it is current.

    Raises SchemaTooNew for a database that a later version has written.
    """
    # The statement also makes SQLAlchemy notice the open transaction, so that alembic leaves it to us.
    before = revision_of(connection)
    if before == HEAD:
        return
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    script = ScriptDirectory.from_config(config)
    known = {revision.revision for revision in script.walk_revisions()}
    if before is not None and before not in known:
        raise SchemaTooNew(before)
    with EnvironmentContext(
        config, script, fn=lambda revision, _context: script._upgrade_revs("head", revision)
    ) as environment:
        environment.configure(connection=connection, version_table_schema=_schema(connection))
        environment.run_migrations()


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the schema; None if there is none."""
    schema = _schema(connection)
    if not connection.dialect.has_table(connection, "alembic_version", schema=schema):
        return None
    versions = table("alembic_version", column("version_num"), schema=schema)
    revision: str | None = connection.execute(select(versions.c["version_num"])).scalar()
    return revision


def _schema(connection: Connection) -> str | None:
    """Return the schema for new tables, if the engine has schemas: another application's version table is not ours."""
    if connection.dialect.name != "postgresql":
        return None
    schema: str | None = connection.execute(text("SELECT current_schema()")).scalar()
    return schema
