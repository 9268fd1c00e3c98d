"""The current tables, which a new database gets. Changes to released ones are in `migrations`."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    DDL,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    event,
    text,
)

from .approval_tables import approval_events as approval_events
from .approval_tables import approvals as approvals
from .budget_tables import budget_notices as budget_notices
from .budget_tables import budget_raises as budget_raises
from .budget_tables import budget_reservations as budget_reservations
from .column_types import Counter, Text, UtcTime
from .encrypted_types import EncryptedBlob, EncryptedBytes, EncryptedMetadata, EncryptedText, HashedText
from .steering_tables import steering_messages as steering_messages
from .sweep_tables import sweeps as sweeps
from .tables_metadata import metadata as metadata

# ``status`` is ``busy`` or the result of the thread's last run, which ``resting`` keeps while the thread is busy.
threads: Final = Table(
    "threads",
    metadata,
    Column("thread_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("resting", Text, nullable=False),
    Column("temporary", Boolean, nullable=False),
    Column("metadata", EncryptedMetadata(), nullable=False),
    Column("config", EncryptedText("threads.config"), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("state_updated_at", UtcTime),
    Column("error", EncryptedText("threads.error")),
    Column("interrupts", EncryptedBytes("threads.interrupts"), nullable=False),
    # Last, since it is large: SQLite reads the columns before it without touching its pages.
    Column("state_values", EncryptedBytes("threads.values")),
)
Index("ix_threads_owner_updated", threads.c.tenant_id, threads.c.user_id, threads.c.updated_at)
Index("ix_threads_owner_created", threads.c.tenant_id, threads.c.user_id, threads.c.created_at)
Index("ix_threads_owner_status", threads.c.tenant_id, threads.c.user_id, threads.c.status)

# For threads that are not kept forever. ``expires_at`` is the time of the next check: using a thread does not write
# here, so it may be too early, and is never too late.
thread_ttls: Final = Table(
    "thread_ttls",
    metadata,
    Column("thread_id", Text, primary_key=True),
    Column("minutes", Float, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
)
Index("ix_thread_ttls_expires_at", thread_ttls.c.expires_at)

# The result of langgraph.json's priority function for a thread. ``fairness_group`` is null for the default group.
thread_priorities: Final = Table(
    "thread_priorities",
    metadata,
    Column("thread_id", Text, primary_key=True),
    Column("priority", Integer, nullable=False),
    Column("fairness_group", Text),
)

# A run has ``ended_at`` when it has ended, and ``lease_until`` while a worker holds it. ``worker`` stays after the run
# was settled: it names the worker that did so. There is no foreign key to threads: a temporary thread is deleted
# before its run.
runs: Final = Table(
    "runs",
    metadata,
    Column("queue_seq", Counter, primary_key=True, autoincrement=True),
    Column("run_id", Text, nullable=False),
    Column("thread_id", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("assistant_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("due_at", UtcTime, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("lost_attempts", Integer, nullable=False),
    Column("worker", Text),
    Column("lease_until", UtcTime),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("stop_requested", Text),
    Column("base_checkpoint_id", Text),
    Column("final_checkpoint_id", Text),
    Column("dead_letter", Boolean, nullable=False),
    Column("temporary", Boolean, nullable=False),
    Column("failure", EncryptedText("runs.failure")),
    Column("completion", EncryptedText("runs.completion")),
    Column("actor", EncryptedText("actor"), nullable=False),
    Column("metadata", EncryptedMetadata(), nullable=False),
    Column("spec", EncryptedText("runs.spec", ("graph_id",)), nullable=False),
    # ``fairness_group`` is null if runs do not take turns.
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("fairness_group", Text),
    # A number is never assigned twice, or a later run could come before an earlier one.
    sqlite_autoincrement=True,
)
Index("uq_runs_run_id", runs.c.run_id, unique=True)
Index("ix_runs_thread", runs.c.thread_id, runs.c.queue_seq)
Index("ix_runs_owner", runs.c.tenant_id, runs.c.user_id, runs.c.queue_seq)


def _only(name: str, condition: str, *columns: Column[Any]) -> None:
    """Create an index over the rows that meet a condition; a query uses it if it has the same condition literally."""
    # SQLite has no booleans, and SQLAlchemy compares with 1.
    on_sqlite = condition.replace("dead_letter", "dead_letter = 1").replace("temporary", "temporary = 1")
    Index(name, *columns, sqlite_where=text(on_sqlite), postgresql_where=text(condition))


_only("ix_runs_open", "ended_at IS NULL", runs.c.thread_id, runs.c.queue_seq)
_only("ix_runs_begun", "ended_at IS NULL AND started_at IS NOT NULL", runs.c.thread_id, runs.c.queue_seq)
_only("ix_runs_held_thread", "lease_until IS NOT NULL", runs.c.thread_id)
_only("ix_runs_held_until", "lease_until IS NOT NULL", runs.c.lease_until)
_only("ix_runs_waiting", "ended_at IS NULL AND lease_until IS NULL", runs.c.due_at, runs.c.queue_seq)
_only(
    "ix_runs_flow",
    "ended_at IS NULL AND lease_until IS NULL AND fairness_group IS NOT NULL",
    runs.c.fairness_group,
    runs.c.priority,
    runs.c.due_at,
    runs.c.queue_seq,
)
_only("ix_runs_flow_turns", "fairness_group IS NOT NULL", runs.c.fairness_group, runs.c.priority, runs.c.started_at)
_only("ix_runs_held_group", "lease_until IS NOT NULL AND fairness_group IS NOT NULL", runs.c.fairness_group)
_only("ix_runs_dead", "dead_letter", runs.c.tenant_id, runs.c.user_id, runs.c.queue_seq)
_only("ix_runs_temporary", "temporary AND ended_at IS NOT NULL", runs.c.ended_at)
_only("ix_runs_ended", "ended_at IS NOT NULL", runs.c.ended_at)

# The events of each thread. The counter outlives them, so that no ``seq`` is reused, and records their owner.
run_event_threads: Final = Table(
    "run_event_threads",
    metadata,
    Column("thread_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("last_seq", Counter, nullable=False),
)
run_events: Final = Table(
    "run_events",
    metadata,
    Column("thread_id", Text, primary_key=True),
    Column("seq", Counter, primary_key=True, autoincrement=False),
    Column("run_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("metadata", EncryptedText("run_events.metadata"), nullable=False),
    Column("content", EncryptedText("run_events.content"), nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_run_events_run", run_events.c.thread_id, run_events.c.run_id, run_events.c.seq)
Index("ix_run_events_category", run_events.c.thread_id, run_events.c.category, run_events.c.seq)

# What each attempt of a run used, by model, group of callers and day (UTC). A row outlives its run; ``provider`` is
# empty if it is not known.
run_usage: Final = Table(
    "run_usage",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("model", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("caller", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("thread_id", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("graph_id", Text, nullable=False),
    Column("calls", Counter, nullable=False),
    Column("input_tokens", Counter, nullable=False),
    Column("output_tokens", Counter, nullable=False),
    Column("total_tokens", Counter, nullable=False),
    Column("cache_read_tokens", Counter, nullable=False),
    Column("cache_write_tokens", Counter, nullable=False),
    Column("reasoning_tokens", Counter, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_run_usage_thread", run_usage.c.thread_id)
Index("ix_run_usage_owner", run_usage.c.tenant_id, run_usage.c.user_id, run_usage.c.day)
Index("ix_run_usage_day", run_usage.c.day, run_usage.c.graph_id)

# Ends of runs of which required observers are still to be notified, written in the transaction that ends the run.
end_notifications: Final = Table(
    "end_notifications",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("thread_id", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("occurred_at", UtcTime, nullable=False),
    Column("next_at", UtcTime, nullable=False),
    Column("tries", Integer, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_end_notifications_next", end_notifications.c.next_at)

assistants: Final = Table(
    "assistants",
    metadata,
    Column("assistant_id", Text, primary_key=True),
    # A shared assistant belongs to the server and has neither.
    Column("tenant_id", Text),
    Column("user_id", Text),
    Column("shared", Boolean, nullable=False),
    Column("graph_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", EncryptedText("assistants.description")),
    Column("config", EncryptedText("assistants.config"), nullable=False),
    Column("context", EncryptedText("assistants.context"), nullable=False),
    Column("metadata", EncryptedMetadata(), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)
Index("ix_assistants_owner", assistants.c.tenant_id, assistants.c.user_id)
Index("ix_assistants_graph", assistants.c.graph_id)

# Previous and current content of assistants. The current version is also copied to `assistants` for searches.
assistant_versions: Final = Table(
    "assistant_versions",
    metadata,
    Column("assistant_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("graph_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", EncryptedText("assistants.description")),
    Column("config", EncryptedText("assistants.config"), nullable=False),
    Column("context", EncryptedText("assistants.context"), nullable=False),
    Column("metadata", EncryptedMetadata(), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("last_used_at", UtcTime),
    Column("revoked_at", UtcTime),
    Column("expires_at", UtcTime),
)
Index("uq_api_keys_digest", api_keys.c.digest, unique=True)

# The run that each key has created. A row outlives its run, so that a late repetition does not create it again.
idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    Column("tenant_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("key", HashedText(), primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_idempotency_keys_created", idempotency_keys.c.created_at)

# Long-term memory of agents. ``namespace`` is its labels joined by dots, which no label contains; ``searched`` are the
# paths that a search uses (JSON; null: those of the configuration, an empty list: none).
items: Final = Table(
    "items",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("ttl_minutes", Float),
    Column("expires_at", UtcTime),
    Column("searched", EncryptedText("items.searched")),
    Column("value", EncryptedText("items.value"), nullable=False),
)
_only("ix_items_expires", "expires_at IS NOT NULL", items.c.expires_at)

# An item's texts as float32 vectors of length one. Vectors of different ``embedder`` values are not comparable.
item_vectors: Final = Table(
    "item_vectors",
    metadata,
    Column("namespace", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("embedder", Text, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    ForeignKeyConstraint(
        ["namespace", "key"], ["items.namespace", "items.key"], name="fk_item_vectors_item", ondelete="CASCADE"
    ),
)

# Webhook deliveries of ended runs. ``claims`` counts the claims by senders; it fences late ones.
webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    Column("delivery_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("thread_id", Text, nullable=False),
    Column("url", EncryptedText("webhook_deliveries.url"), nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("claims", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("next_attempt_at", UtcTime),
    Column("lease_until", UtcTime),
    Column("ended_at", UtcTime),
    Column("actor", EncryptedText("actor"), nullable=False),
    Column("metadata", EncryptedMetadata(), nullable=False),
    Column("body", EncryptedBytes("webhook_deliveries.body"), nullable=False),
)
Index(
    "ix_webhook_deliveries_owner",
    webhook_deliveries.c.tenant_id,
    webhook_deliveries.c.user_id,
    webhook_deliveries.c.delivery_id,
)
Index("ix_webhook_deliveries_run", webhook_deliveries.c.run_id)
Index("ix_webhook_deliveries_thread", webhook_deliveries.c.thread_id)
_only("ix_webhook_deliveries_due", "status = 'pending'", webhook_deliveries.c.next_attempt_at)
_only("ix_webhook_deliveries_ended", "ended_at IS NOT NULL", webhook_deliveries.c.ended_at)

webhook_attempts: Final = Table(
    "webhook_attempts",
    metadata,
    Column("delivery_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime, nullable=False),
    Column("status_code", Integer),
    Column("error", EncryptedText("webhook_attempts.error")),
    sqlite_with_rowid=False,
)

# Users' feedback on runs; ``message_id`` is empty for the run as a whole. ``value`` is JSON.
feedback: Final = Table(
    "feedback",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("tenant_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("thread_id", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("score", Float),
    Column("value", EncryptedText("feedback.value"), nullable=False),
    Column("comment", EncryptedText("feedback.comment")),
    ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_feedback_run", ondelete="CASCADE"),
)
Index(
    "ix_feedback_thread",
    *(feedback.c[name] for name in ("thread_id", "run_id", "message_id", "tenant_id", "user_id")),
)
Index("ix_feedback_owner", feedback.c.tenant_id, feedback.c.user_id, feedback.c.updated_at)

# The events of ended runs, as they were streamed. An archive is one run's whole log in ``size`` bytes, and visible once
# it ``is_complete``; ``attempt`` is that of the terminal event. A block has ``events`` events in a row of one attempt.
frame_archives: Final = Table(
    "frame_archives",
    metadata,
    Column("archive_id", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("is_complete", Boolean, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("size", Counter, nullable=False),
    ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_frame_archives_run", ondelete="CASCADE"),
)
Index("ix_frame_archives_run", frame_archives.c.run_id)
Index("ix_frame_archives_created", frame_archives.c.created_at)
frame_blocks: Final = Table(
    "frame_blocks",
    metadata,
    Column("archive_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("first_seq", Counter, primary_key=True, autoincrement=False),
    Column("events", Integer, nullable=False),
    Column("data", EncryptedBlob("frame_blocks.data"), nullable=False),
    ForeignKeyConstraint(
        ["archive_id"], ["frame_archives.archive_id"], name="fk_frame_blocks_archive", ondelete="CASCADE"
    ),
)

crons: Final = Table(
    "crons",
    metadata,
    Column("cron_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("assistant_id", Text, nullable=False),
    Column("thread_id", Text),
    Column("schedule", Text, nullable=False),
    Column("timezone", Text),
    Column("end_time", UtcTime),
    Column("on_run_completed", Text),
    Column("enabled", Boolean, nullable=False),
    Column("next_run_date", UtcTime),
    Column("last_run_id", Text),
    Column("last_error", EncryptedText("crons.last_error")),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("actor", EncryptedText("actor"), nullable=False),
    Column("metadata", EncryptedMetadata(), nullable=False),
    Column("payload", EncryptedText("crons.payload"), nullable=False),
)
Index("ix_crons_owner", crons.c.tenant_id, crons.c.user_id, crons.c.created_at)
Index("ix_crons_thread", crons.c.thread_id)
Index("ix_crons_due", crons.c.next_run_date)

# Chat users and the account of each. ``actor`` is the account as it was authenticated when it made the code.
channel_links: Final = Table(
    "channel_links",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("workspace", Text, primary_key=True),
    Column("chat_user_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("subject_id", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("actor", EncryptedText("actor"), nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_channel_links_owner", channel_links.c.tenant_id, channel_links.c.user_id)
Index("ix_channel_links_subject", channel_links.c.subject_id)

# One-time codes, as digests. ``used_by`` is the chat user, as JSON; a used code stays until it expires.
channel_codes: Final = Table(
    "channel_codes",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("expires_at", UtcTime, nullable=False),
    Column("used_by", Text),
    Column("actor", EncryptedText("actor"), nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_channel_codes_expires", channel_codes.c.expires_at)

# The thread of each conversation of a chat user, under an account.
channel_conversations: Final = Table(
    "channel_conversations",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("workspace", Text, primary_key=True),
    Column("chat_id", Text, primary_key=True),
    Column("chat_user_id", Text, primary_key=True),
    Column("tenant_id", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("thread_id", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_channel_conversations_thread", channel_conversations.c.thread_id)

# Messages of chat services, from their receipt until they are answered. An ended row stays for a while: a service may
# deliver the message again, and buttons below the answer refer to it.
channel_messages: Final = Table(
    "channel_messages",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=True),
    Column("provider", Text, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("chat_id", Text, nullable=False),
    Column("chat_user_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("run_id", Text),
    Column("thread_id", Text),
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcTime, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("payload", EncryptedText("channel_messages.payload"), nullable=False),
    Column("progress", EncryptedText("channel_messages.progress"), nullable=False),
    sqlite_autoincrement=True,
)
Index(
    "uq_channel_messages_message",
    *(channel_messages.c[name] for name in ("provider", "workspace", "message_id")),
    unique=True,
)
_only(
    "ix_channel_messages_open",
    "ended_at IS NULL",
    *(channel_messages.c[name] for name in ("provider", "workspace", "chat_id", "chat_user_id", "seq")),
)
_only("ix_channel_messages_ended", "ended_at IS NOT NULL", channel_messages.c.ended_at)
Index("ix_channel_messages_thread", channel_messages.c.thread_id)

# Which process receives for a bot, or answers in a conversation, and until when.
channel_leases: Final = Table(
    "channel_leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)

# One row, on SQLite only: the checkpoint file that belongs to this database (see
# `runstead.infra.checkpoints.identity`).
checkpoint_identity: Final = Table("checkpoint_identity", metadata, Column("identity", Text, nullable=False))

# The ids of the keys that values are encrypted with. A key is recorded here before anything is encrypted with it.
encryption_keys: Final = Table("encryption_keys", metadata, Column("key_id", Text, primary_key=True))

# The keys that each running process of a cluster has, as ids separated by spaces.
key_holders: Final = Table(
    "key_holders",
    metadata,
    Column("holder_id", Text, primary_key=True),
    Column("key_ids", Text, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
)

# Who did what: a chain of digests. Triggers refuse to change or delete rows.
audit_log: Final = Table(
    "audit_log",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("subject_id", Text),
    Column("auth_source", Text),
    Column("role", Text),
    Column("client", Text),
    Column("action", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("target", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
)
Index("ix_audit_log_user", audit_log.c.tenant_id, audit_log.c.user_id, audit_log.c.seq)

_APPEND_ONLY: Final = "the audit log is append-only"


def _after_create(dialect: str, statement: str) -> None:
    """Execute ``statement`` after the audit log was created on this kind of database."""
    ddl = DDL(statement)  # type: ignore[no-untyped-call]
    event.listen(audit_log, "after_create", ddl.execute_if(dialect=dialect))


_after_create(
    "sqlite",
    f"CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END",
)
_after_create(
    "sqlite",
    f"CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END",
)
_after_create(
    "postgresql",
    "CREATE FUNCTION runstead_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_APPEND_ONLY}'; END $$",
)
_after_create(
    "postgresql",
    "CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log "
    "FOR EACH ROW EXECUTE FUNCTION runstead_audit_append_only()",
)
