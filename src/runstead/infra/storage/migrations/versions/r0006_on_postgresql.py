"""Features of PostgreSQL only: an index for searches in stored JSON, and lower case for all alphabets.

The tables of checkpoints are here too: in PostgreSQL they are beside the runs, so that a write can be refused in its
own transaction; SQLite has a separate file for them (`runstead.infra.checkpoints.schema`).
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Connection, text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Our text is not always JSON that PostgreSQL accepts: it may contain NUL, unpaired surrogates, NaN. They are replaced
# by the closest valid form, on both sides of a comparison. Pairs of backslashes are set aside first, so that every
# remaining one begins an escape.
_JSON = r"""
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
_LOWER = """
CREATE FUNCTION runstead_lower(words text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$ SELECT lower(words COLLATE {collation}) $$
"""
# The first of these that the server has is used; "C" only supports ASCII letters.
_COLLATIONS = ("pg_c_utf8", "und-x-icu", "C.utf8", "default")

_CHECKPOINTS = (
    """
    CREATE TABLE checkpoints (
        thread_id TEXT COLLATE "C" NOT NULL,
        checkpoint_ns TEXT COLLATE "C" NOT NULL DEFAULT '',
        checkpoint_id TEXT COLLATE "C" NOT NULL,
        parent_checkpoint_id TEXT COLLATE "C",
        type TEXT COLLATE "C",
        checkpoint BYTEA,
        metadata BYTEA,
        run_id TEXT COLLATE "C",
        CONSTRAINT pk_checkpoints PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id)
    )
    """,
    "CREATE INDEX ix_checkpoints_run ON checkpoints (run_id, thread_id) WHERE run_id IS NOT NULL",
    """
    CREATE TABLE writes (
        thread_id TEXT COLLATE "C" NOT NULL,
        checkpoint_ns TEXT COLLATE "C" NOT NULL DEFAULT '',
        checkpoint_id TEXT COLLATE "C" NOT NULL,
        task_id TEXT COLLATE "C" NOT NULL,
        task_path TEXT COLLATE "C" NOT NULL DEFAULT '',
        idx INTEGER NOT NULL,
        channel TEXT COLLATE "C" NOT NULL,
        type TEXT COLLATE "C",
        value BYTEA,
        CONSTRAINT pk_writes PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
    )
    """,
    """
    CREATE TABLE marks (
        rowid BIGINT GENERATED ALWAYS AS IDENTITY,
        thread_id TEXT COLLATE "C" NOT NULL,
        run_id TEXT COLLATE "C" NOT NULL,
        checkpoint_id TEXT COLLATE "C",
        CONSTRAINT pk_marks PRIMARY KEY (thread_id, run_id)
    )
    """,
    """
    CREATE TABLE mark_checkpoints (
        thread_id TEXT COLLATE "C" NOT NULL,
        mark_run_id TEXT COLLATE "C" NOT NULL,
        checkpoint_ns TEXT COLLATE "C" NOT NULL,
        checkpoint_id TEXT COLLATE "C" NOT NULL,
        parent_checkpoint_id TEXT COLLATE "C",
        type TEXT COLLATE "C",
        checkpoint BYTEA,
        metadata BYTEA,
        run_id TEXT COLLATE "C",
        CONSTRAINT pk_mark_checkpoints PRIMARY KEY (thread_id, mark_run_id, checkpoint_ns, checkpoint_id)
    )
    """,
    """
    CREATE TABLE mark_writes (
        thread_id TEXT COLLATE "C" NOT NULL,
        mark_run_id TEXT COLLATE "C" NOT NULL,
        checkpoint_ns TEXT COLLATE "C" NOT NULL,
        checkpoint_id TEXT COLLATE "C" NOT NULL,
        task_id TEXT COLLATE "C" NOT NULL,
        idx INTEGER NOT NULL,
        existed BOOLEAN NOT NULL,
        task_path TEXT COLLATE "C",
        channel TEXT COLLATE "C",
        type TEXT COLLATE "C",
        value BYTEA,
        CONSTRAINT pk_mark_writes PRIMARY KEY (thread_id, mark_run_id, checkpoint_ns, checkpoint_id, task_id, idx)
    )
    """,
)


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    # Passed to the driver directly: SQLAlchemy would look for parameters in it.
    connection.exec_driver_sql(_JSON)
    connection.exec_driver_sql(_LOWER.format(collation=_collation(connection)))
    # Only for threads: runs are searched within one thread, and each step of a run would have to update its index.
    connection.exec_driver_sql(
        "CREATE INDEX ix_threads_metadata_json ON threads USING gin (runstead_json(metadata) jsonb_path_ops)"
    )
    for statement in _CHECKPOINTS:
        connection.exec_driver_sql(statement)


def _collation(connection: Connection) -> str:
    there = set(connection.execute(text("SELECT collname FROM pg_collation")).scalars())
    return '"' + next(name for name in _COLLATIONS if name in there) + '"'
