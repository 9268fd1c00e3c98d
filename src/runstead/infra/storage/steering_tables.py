"""The table of steering messages, part of the schema."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Index, Integer, Table, text

from .column_types import Counter, Text, UtcTime
from .encrypted_types import EncryptedText
from .tables_metadata import metadata

# Messages for runs that are going on. ``seq`` is their order. ``spec`` is the run that a message starts if no run takes
# it; it is null once the message is not open any more. ``taken_run`` and what follows say which task has taken it.
steering_messages: Final = Table(
    "steering_messages",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=True),
    Column("message_id", Text, nullable=False),
    Column("thread_id", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("assistant_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("taken_attempt", Integer),
    Column("task_id", Text),
    Column("task", Text),
    Column("actor", EncryptedText("actor"), nullable=False),
    Column("spec", EncryptedText("steering_messages.spec")),
    sqlite_autoincrement=True,
)
Index("uq_steering_messages_message", steering_messages.c.message_id, unique=True)
Index("ix_steering_messages_thread", steering_messages.c.thread_id, steering_messages.c.seq)
_OPEN: Final = text("ended_at IS NULL")
Index(
    "ix_steering_messages_open",
    steering_messages.c.thread_id,
    steering_messages.c.seq,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)
