"""The tables to transfer, in order, and the tables that are left out.

A part contains rows that belong together, such as those of one thread or one assistant. They are adjacent in the file
and written in one transaction, so that no reader ever sees half of them. Every table is in a part, or is left out with
a reason; a test checks this against the databases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Column, Table

from runstead.infra.storage import checkpoint_tables
from runstead.infra.storage import schema as tables
from runstead.infra.storage.steering_tables import steering_messages


@dataclass(frozen=True, slots=True)
class TableGroup:
    """Tables whose rows belong together if they agree in the columns of ``key``."""

    name: str
    key: tuple[str, ...]
    tables: tuple[Table, ...]
    orders: tuple[tuple[Column[object], ...], ...] = field(init=False, repr=False)
    """For each table, the columns that its rows are sorted by: the key of the part, then the rest of the primary
    key.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "orders", tuple(self._order(table) for table in self.tables))

    def _order(self, table: Table) -> tuple[Column[object], ...]:
        rest = [column for column in table.primary_key.columns if column.name not in self.key]
        return (*(table.c[name] for name in self.key), *rest)


# Referenced rows come first, rows that act by themselves last: a server that reads during an import, or starts after
# an interrupted one, finds the assistant of a run, and no cron fires on a thread that is not imported yet.
TABLE_GROUPS: Final = (
    TableGroup("assistants", ("assistant_id",), (tables.assistants, tables.assistant_versions)),
    TableGroup("api_keys", ("key_id",), (tables.api_keys,)),
    TableGroup("items", ("namespace", "key"), (tables.items, tables.item_vectors)),
    TableGroup(
        "threads",
        ("thread_id",),
        (
            checkpoint_tables.checkpoints,
            checkpoint_tables.writes,
            checkpoint_tables.marks,
            checkpoint_tables.mark_checkpoints,
            checkpoint_tables.mark_writes,
            tables.threads,
            tables.thread_ttls,
            tables.thread_priorities,
            tables.run_event_threads,
            tables.run_events,
            tables.runs,
            tables.feedback,
            tables.approvals,
            tables.approval_events,
            steering_messages,
        ),
    ),
    TableGroup("run_usage", ("run_id",), (tables.run_usage,)),
    TableGroup("end_notifications", ("run_id", "attempt"), (tables.end_notifications,)),
    TableGroup("budget_raises", ("budget", "run_id"), (tables.budget_raises,)),
    TableGroup("budget_notices", ("budget", "kind", "amount"), (tables.budget_notices,)),
    TableGroup("idempotency_keys", ("tenant_id", "user_id", "key"), (tables.idempotency_keys,)),
    TableGroup("webhook_deliveries", ("delivery_id",), (tables.webhook_deliveries, tables.webhook_attempts)),
    TableGroup("channel_links", ("provider", "workspace", "chat_user_id"), (tables.channel_links,)),
    TableGroup(
        "channel_conversations",
        ("provider", "workspace", "chat_id", "chat_user_id", "tenant_id", "user_id"),
        (tables.channel_conversations,),
    ),
    TableGroup("channel_messages", ("seq",), (tables.channel_messages,)),
    TableGroup("crons", ("cron_id",), (tables.crons,)),
    TableGroup("audit_log", ("seq",), (tables.audit_log,)),
    TableGroup("encryption_keys", ("key_id",), (tables.encryption_keys,)),
)

LEFT_OUT: Final[Mapping[str, str]] = {
    "alembic_version": "the revision of the schema, which has to be the same on both sides",
    "syncs": "the state of the file itself",
    "checkpoint_identity": "which checkpoint file belongs to the database; every place has its own",
    "frame_archives": "streams of ended runs, which stay behind like live ones",
    "frame_blocks": "the events of these",
    "channel_codes": "one-time codes, which are valid for ten minutes",
    "channel_leases": "which processes answer chat services there",
    "key_holders": "which processes are alive there, and their keys",
    "budget_reservations": "model calls in flight; nothing is in flight in an export",
    "sweeps": "how far a deletion of old data has come there",
    "import_progress": "how far an import has come; it goes when the import is done",
    "procrastinate_jobs": "jobs of waiting runs, which are made again from the runs",
    "procrastinate_events": "what became of jobs",
    "procrastinate_periodic_defers": "not used: crons are in a table of ours",
    "procrastinate_workers": "which workers are alive there",
    "procrastinate_version": "what the release of procrastinate says of itself",
    "sqlite_sequence": "SQLite's own counters; they stand in the file's `counters`",
    "sqlite_stat1": "SQLite's own statistics",
    "sqlite_stat4": "SQLite's own statistics",
}

CHECKPOINT_TABLES: Final = frozenset(checkpoint_tables.metadata.tables)
"""Tables that SQLite has in a separate file."""


def moved_tables() -> Iterator[Table]:
    """Yield all transferred tables in the order of the file."""
    for part in TABLE_GROUPS:
        yield from part.tables


def group_named(name: str) -> TableGroup:
    """Return the part of this name. Raises KeyError."""
    return {part.name: part for part in TABLE_GROUPS}[name]
