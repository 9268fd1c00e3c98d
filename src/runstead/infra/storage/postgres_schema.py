"""The parts of the schema that only PostgreSQL has: its functions, a JSON index, checkpoints and jobs.

Checkpoints are beside the runs there, so that a write can be refused in its own transaction, and so are procrastinate's
jobs: a run's job is written in the run's own transaction.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, text

from . import checkpoint_tables

# Our text is not always JSON that PostgreSQL accepts: it may contain NUL, unpaired surrogates, NaN. They are replaced
# by the closest valid form, on both sides of a comparison. Pairs of backslashes are set aside first, so that every
# remaining one begins an escape.
_JSON: Final = r"""
CREATE FUNCTION runstead_json(stored text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    cleaned text;
BEGIN
    IF left(stored, 1) <> ' ' AND strpos(stored, '\u0000') = 0 THEN
        RETURN stored::jsonb;
    END IF;
    cleaned := replace(stored, '\\', chr(1));
    cleaned := regexp_replace(
        cleaned, '\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})', chr(2) || '\1' || chr(3) || '\2', 'gi');
    cleaned := regexp_replace(cleaned, '\\u(0000|d[89a-f][0-9a-f]{2})', '\\ufffd', 'gi');
    cleaned := replace(replace(replace(cleaned, chr(2), '\u'), chr(3), '\u'), chr(1), '\\');
    cleaned := regexp_replace(cleaned, '(?<=[\[:,])\s*(NaN|-?Infinity)(?=\s*[,}\]])', 'null', 'g');
    BEGIN
        RETURN cleaned::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
        -- Contains nothing, and is contained in nothing but what is empty too.
        RETURN '[]'::jsonb;
    END;
END
$$
"""
_LOWER: Final = """
CREATE FUNCTION runstead_lower(words text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT lower(words COLLATE {collation}) $$
"""
# The first of these that the server has is used; "C" only supports ASCII letters.
_COLLATIONS: Final = ("pg_c_utf8", "und-x-icu", "C.utf8", "default")


def create_postgres_parts(connection: Connection) -> None:
    """Create them beside the other tables, in the caller's transaction."""
    # Passed to the driver directly: SQLAlchemy would look for parameters in it.
    connection.exec_driver_sql(_JSON)
    connection.exec_driver_sql(_LOWER.format(collation=_collation(connection)))
    # Only for threads: runs are searched within one thread, and each step of a run would have to update its index.
    connection.exec_driver_sql(
        "CREATE INDEX ix_threads_metadata_json ON threads USING gin (runstead_json(metadata) jsonb_path_ops)"
    )
    checkpoint_tables.metadata.create_all(connection, checkfirst=False)
    _create_jobs(connection)


def _collation(connection: Connection) -> str:
    there = set(connection.execute(text("SELECT collname FROM pg_collation")).scalars())
    return '"' + next(name for name in _COLLATIONS if name in there) + '"'


def _create_jobs(connection: Connection) -> None:
    """Create procrastinate's tables and functions, which are those of the release that pyproject.toml names.

    A later release that changes them needs a revision of its own.
    """
    # Imported here, since it need not be installed for SQLite.
    from procrastinate.schema import SchemaManager

    driver: Any = connection.connection
    driver.cursor().execute(SchemaManager.get_schema())
