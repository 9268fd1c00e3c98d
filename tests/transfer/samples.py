"""Hand-written rows, for tests that need to know them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, insert

from runstead.infra.storage.checkpoint_tables import checkpoints, writes
from runstead.infra.storage.schema import runs, threads
from tests.servers.rows import run_row

NOW: Final = datetime(2030, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
_OWNER: Final = {"tenant_id": "default", "user_id": "alice"}


def insert_run(connection: Connection, run_id: str, *, queue_seq: int | None = None, **columns: Any) -> None:
    place = {} if queue_seq is None else {"queue_seq": queue_seq}
    row = run_row(run_id, NOW, **{**_OWNER, **place, **columns})
    connection.execute(insert(runs), [row])


def insert_thread(connection: Connection, thread_id: str, *, steps: int = 3, size: int = 100, **columns: Any) -> None:
    """A thread with this number of checkpoints and a write of each; ``size`` bytes each."""
    row: dict[str, Any] = {
        **_OWNER,
        "thread_id": thread_id,
        "status": "idle",
        "resting": "idle",
        "temporary": False,
        "metadata": "{}",
        "config": "{}",
        "created_at": NOW,
        "updated_at": NOW,
        "interrupts": b"{}",
        **columns,
    }
    connection.execute(insert(threads), [row])
    place: dict[str, Any] = {"thread_id": thread_id, "checkpoint_ns": ""}
    for step in range(steps):
        checkpoint_id = f"{step:06}"
        content = {"type": "msgpack", "checkpoint": bytes([step % 256]) * size, "metadata": b"{}", "position": step}
        connection.execute(insert(checkpoints), [{**place, "checkpoint_id": checkpoint_id, **content}])
        write = {"task_id": "t", "task_path": "", "idx": 0, "channel": "c", "type": "msgpack", "value": b"x" * size}
        connection.execute(insert(writes), [{**place, "checkpoint_id": checkpoint_id, **write}])


def threads_of(count: int, **columns: Any) -> Callable[[Connection], None]:
    """Work that creates ``thread-0000`` and so on, each with a run."""

    def work(connection: Connection) -> None:
        for number in range(count):
            insert_thread(connection, f"thread-{number:04}", **columns)
            insert_run(connection, f"run-{number:04}", thread_id=f"thread-{number:04}")

    return work
